"""The store on a SQL database. Nothing here is SQLite's own: that part is in `opening`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import bindparam, case, delete, insert, select, update
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from hpgreedy.operations.ports import Change, Records, StaleEpoch, StoreError
from hpgreedy.store import tables
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

_EPOCH, _RECORDS, _LOG = tables.epoch, tables.records, tables.log


class SqlStore:
    """Every call is one transaction; any thread may call, one at a time writes.

    Raises StoreError with a sentence when the database fails; the transaction is then undone.
    """

    def __init__(self, engine: Engine, clock: Clock, where: str) -> None:
        self._engine = engine
        self._clock = clock
        self._where = where

    def claim_epoch(self, at_least: int = 0) -> int:
        """See `Store.claim_epoch`."""
        current = _EPOCH.c.epoch
        higher = case((current < at_least, at_least), else_=current) + 1
        with self._transaction("claiming the epoch") as connection:
            connection.execute(update(_EPOCH).values(epoch=higher))
            return int(connection.execute(select(current)).scalar_one())

    def append(self, epoch: int, batch: Sequence[Change]) -> None:
        """See `Store.append`."""
        text, left = encode_batch(batch), outcome(batch)
        with self._transaction("storing a batch") as connection:
            _hold_epoch(connection, epoch)
            _write_records(connection, left)
            connection.execute(insert(_LOG).values(at=self._clock(), epoch=epoch, batch=text))

    def load(self) -> Records:
        """See `Store.load`."""
        records: Records = {}
        with self._transaction("reading the records") as connection:
            rows = connection.execute(select(_RECORDS).order_by(_RECORDS.c.kind, _RECORDS.c.key))
            for kind, key, text in rows:
                records.setdefault(kind, {})[key] = decode_value(text)
        return records

    def log(self) -> tuple[LogEntry, ...]:
        """The batches that are kept, oldest first."""
        with self._transaction("reading the log") as connection:
            rows = connection.execute(select(_LOG).order_by(_LOG.c.seq)).all()
        return tuple(
            LogEntry(seq=row.seq, at=row.at, epoch=row.epoch, batch=decode_batch(row.batch)) for row in rows
        )

    def compact(self, before: float, now: float) -> int:
        """See `Store.compact`."""
        check_compact(before, now)
        with self._transaction("dropping old log entries") as connection:
            return int(connection.execute(delete(_LOG).where(_LOG.c.at < before)).rowcount)

    def close(self) -> None:
        """See `Store.close`."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self, what: str) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise StoreError(
                f"{what} failed in {self._where}: {database_words(error)}; nothing of it was stored"
            ) from error


def database_words(error: BaseException) -> str:
    """What the database itself said, without the statement."""
    return str(getattr(error, "orig", None) or error)


def _hold_epoch(connection: Connection, epoch: int) -> None:
    # An update, not a select: it locks the row, so that no newer epoch is claimed before this commits.
    held = update(_EPOCH).where(_EPOCH.c.epoch == epoch).values(epoch=_EPOCH.c.epoch)
    if connection.execute(held).rowcount != 1:
        raise StaleEpoch(stale_sentence(epoch, int(connection.execute(select(_EPOCH.c.epoch)).scalar_one())))


def _write_records(connection: Connection, left: dict[tuple[str, str], str | None]) -> None:
    # Delete and insert, since SQL has no upsert that all databases share.
    if not left:
        return
    connection.execute(
        delete(_RECORDS).where(_RECORDS.c.kind == bindparam("k"), _RECORDS.c.key == bindparam("i")),
        [{"k": kind, "i": key} for kind, key in left],
    )
    rows = [
        {"kind": kind, "key": key, "value": value} for (kind, key), value in left.items() if value is not None
    ]
    if rows:
        connection.execute(insert(_RECORDS), rows)
