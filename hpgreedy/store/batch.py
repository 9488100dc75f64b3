"""How changes are written down; shared by every store, so that all take and refuse the same values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from hpgreedy.operations.ports import Change

Clock = Callable[[], float]
"""Seconds since the epoch."""

_changes = msgspec.json.Decoder(tuple[Change, ...])
_value = msgspec.json.Decoder(dict[str, Any])


class LogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One stored batch: its number, when (seconds) and under which epoch it was stored."""

    seq: int
    at: float
    epoch: int
    batch: tuple[Change, ...]


def encode_value(value: dict[str, Any]) -> str:
    """The record as JSON text; raises TypeError for what JSON cannot carry."""
    return msgspec.json.encode(value).decode()


def decode_value(text: str) -> dict[str, Any]:
    """The record again."""
    return _value.decode(text)


def encode_batch(batch: Sequence[Change]) -> str:
    """The changes as JSON text; raises TypeError for what JSON cannot carry."""
    return msgspec.json.encode(list(batch)).decode()


def decode_batch(text: str) -> tuple[Change, ...]:
    """The changes again."""
    return _changes.decode(text)


def outcome(batch: Sequence[Change]) -> dict[tuple[str, str], str | None]:
    """(kind, key) → JSON text, or None to delete: what is left to do when a record changes repeatedly."""
    return {
        (change.kind, change.key): None if change.value is None else encode_value(change.value)
        for change in batch
    }


def stale_sentence(epoch: int, current: int) -> str:
    """What a coordinator reads that is no longer the newest."""
    return (
        f"epoch {epoch} may not write: epoch {current} has been claimed since, by another coordinator "
        "or a later start of this one; nothing of the batch was stored, this process must stop"
    )


def check_compact(before: float, now: float) -> None:
    """Refuse to drop log entries that are not written yet."""
    if before > now:
        raise ValueError(f"before is {before}; it must not lie after now, which is {now}")
