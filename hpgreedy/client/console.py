"""Pieces of a console's text; pure."""

from __future__ import annotations


def last_lines(text: str, count: int) -> str:
    """The last `count` lines."""
    return "".join(text.splitlines(keepends=True)[-count:])


def tail_bytes(text: str, count: int) -> str:
    """The end of `text` that stood for `count` bytes before it was decoded.

    A replacement character counts as the one byte that could not be decoded.
    """
    at, size = len(text), 0
    while at > 0 and size < count:
        at -= 1
        size += 1 if text[at] == "\ufffd" else len(text[at].encode())
    return text[at:]
