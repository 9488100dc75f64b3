"""A store without a disk, for tests and simulations; `close` and further use stand for a restart."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from hpgreedy.operations.ports import Change, Records, StaleEpoch
from hpgreedy.store.batch import (
    Clock,
    LogEntry,
    check_compact,
    decode_batch,
    decode_value,
    encode_batch,
    outcome,
    stale_sentence,
)


class MemoryStore:
    """Keeps records as JSON text, as a database would: what goes in is never shared with what comes out."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._epoch = 0
        self._seq = 0
        self._records: dict[tuple[str, str], str] = {}
        self._log: list[tuple[int, float, int, str]] = []

    def claim_epoch(self, at_least: int = 0) -> int:
        """See `Store.claim_epoch`."""
        with self._lock:
            self._epoch = max(self._epoch, at_least) + 1
            return self._epoch

    def append(self, epoch: int, batch: Sequence[Change]) -> None:
        """See `Store.append`."""
        text, left = encode_batch(batch), outcome(batch)
        with self._lock:
            if epoch != self._epoch:
                raise StaleEpoch(stale_sentence(epoch, self._epoch))
            for record, value in left.items():
                if value is None:
                    self._records.pop(record, None)
                else:
                    self._records[record] = value
            self._seq += 1
            self._log.append((self._seq, self._clock(), epoch, text))

    def load(self) -> Records:
        """See `Store.load`."""
        records: Records = {}
        with self._lock:
            for (kind, key), text in sorted(self._records.items()):
                records.setdefault(kind, {})[key] = decode_value(text)
        return records

    def log(self) -> tuple[LogEntry, ...]:
        """The batches that are kept, oldest first."""
        with self._lock:
            return tuple(
                LogEntry(seq=seq, at=at, epoch=epoch, batch=decode_batch(text))
                for seq, at, epoch, text in self._log
            )

    def compact(self, before: float, now: float) -> int:
        """See `Store.compact`."""
        check_compact(before, now)
        with self._lock:
            kept = [entry for entry in self._log if entry[1] >= before]
            dropped = len(self._log) - len(kept)
            self._log = kept
        return dropped

    def close(self) -> None:
        """Nothing to let go of."""
