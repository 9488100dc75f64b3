"""The error of this room."""

from __future__ import annotations


class TransportError(Exception):
    """Keys, files or the network failed; `str()` is one sentence that says what to do."""
