"""What operations need of the outside: a store that keeps every decision before it takes effect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

Records = dict[str, dict[str, dict[str, Any]]]
"""kind → key → value."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One record put (`value`, JSON-like builtins) or deleted (None).

    `kind` is the sort of record: vm, operation, host, image, key, request or meta.
    """

    kind: str
    key: str
    value: dict[str, Any] | None


class StoreError(Exception):
    """The store cannot be used or did not take a batch; the message says which and what to do."""


class StaleEpoch(StoreError):  # noqa: N818
    """A newer coordinator has claimed the store; nothing of the batch was stored."""


class NewerDatabase(StoreError):  # noqa: N818
    """The database was written by a newer version of the program; it was left as it is."""


class Store(Protocol):
    """Durable records with a log of the batches that made them; the newest claimer is the only writer."""

    def claim_epoch(self, at_least: int = 0) -> int:
        """Raise the epoch by one, above `at_least` too, durably, and return it."""

    def append(self, epoch: int, batch: Sequence[Change]) -> None:
        """Store the whole batch or nothing of it; durable when it returns.

        Later changes of the same record win. Raises StaleEpoch when `epoch` is not the newest claimed.
        """

    def load(self) -> Records:
        """All records, ordered by kind and key."""

    def compact(self, before: float, now: float) -> int:
        """Drop log entries older than `before` (seconds) and return how many; records stay.

        Raises ValueError when `before` lies after `now`: such a call would empty the log.
        """

    def close(self) -> None:
        """Let go of the database."""
