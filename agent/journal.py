"""The agent's own record of what it was told and what came of it; survives a kill at any moment.

One SQLite file, every write durable when the method returns. Methods may be called from any thread.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from protocol.messages import Command, CommandResult

KEEP_SECONDS = 7 * 86400.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS commands (
    id TEXT PRIMARY KEY, operation TEXT NOT NULL, epoch INTEGER NOT NULL, sent_at REAL NOT NULL,
    deadline REAL NOT NULL, action TEXT NOT NULL, args TEXT NOT NULL, state TEXT NOT NULL,
    ok INTEGER, data TEXT NOT NULL DEFAULT '{}', code TEXT NOT NULL DEFAULT '',
    error TEXT NOT NULL DEFAULT '', acked INTEGER NOT NULL DEFAULT 0, accepted_at REAL NOT NULL, ended_at REAL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS open_commands ON commands (state, acked);
"""


class JournalError(Exception):
    """The journal cannot be used; `str()` is a sentence."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A command in the journal; `result` once it is done."""

    command: Command
    state: Literal["accepted", "running", "done"]
    result: CommandResult | None
    acked: bool


class Journal:
    """Opens or makes the journal in `path`. Raises JournalError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            path.chmod(0o600)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise JournalError(
                f"the journal {path} cannot be used: {error}; restore it, or move it away: the agent then "
                "forgets its host id and joins as a new host"
            ) from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def host_id(self) -> str:
        """This host's id, made at the first call."""
        found = self._fact("host_id")
        if found is None:
            self._write("INSERT OR IGNORE INTO facts VALUES ('host_id', ?)", (str(uuid.uuid4()),))
            found = self._fact("host_id")
        assert found is not None
        return found

    def highest_epoch(self) -> int:
        """The highest epoch ever seen; 0 before the first."""
        return int(self._fact("epoch") or 0)

    def raise_epoch(self, epoch: int) -> None:
        """Remember an epoch; a lower one than before changes nothing."""
        if epoch > self.highest_epoch():
            self._write("INSERT OR REPLACE INTO facts VALUES ('epoch', ?)", (str(epoch),))

    def get(self, command: str) -> Entry | None:
        """The entry of a command id, or None."""
        rows = self._read("SELECT * FROM commands WHERE id = ?", (command,))
        return _entry(rows[0]) if rows else None

    def accept(self, command: Command, now: float) -> None:
        """Write a command down before anything is done about it; `now` in seconds since the epoch."""
        self._write(
            "INSERT INTO commands "
            "(id, operation, epoch, sent_at, deadline, action, args, state, accepted_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, 'accepted', ?)",
            (
                command.id, command.operation, command.epoch, command.sent_at, command.deadline,
                command.action, json.dumps(command.args), now,
            ),
        )  # fmt: skip

    def running(self, command: str) -> None:
        """The driver is about to be called for it."""
        self._write("UPDATE commands SET state = 'running' WHERE id = ? AND state = 'accepted'", (command,))

    def finish(self, result: CommandResult, now: float) -> None:
        """Store the result; the first one stays."""
        self._write(
            "UPDATE commands SET state = 'done', ok = ?, data = ?, code = ?, error = ?, ended_at = ? "
            "WHERE id = ? AND state <> 'done'",
            (result.ok, json.dumps(result.data), result.code, result.error, now, result.command),
        )

    def acknowledge(self, command: str) -> None:
        """The coordinator has the result; what only looked is forgotten at once."""
        self._write(
            "DELETE FROM commands WHERE id = ? AND state = 'done' AND action IN ('inspect', 'console_log')",
            (command,),
        )
        self._write("UPDATE commands SET acked = 1 WHERE id = ? AND state = 'done'", (command,))

    def unfinished(self) -> list[Entry]:
        """What has been accepted and has no result, oldest first."""
        return [
            _entry(row)
            for row in self._read("SELECT * FROM commands WHERE state <> 'done' ORDER BY accepted_at", ())
        ]

    def unacknowledged(self, limit: int = 200) -> list[CommandResult]:
        """Results that the coordinator has not confirmed, oldest first."""
        rows = self._read(
            "SELECT * FROM commands WHERE state = 'done' AND acked = 0 ORDER BY ended_at LIMIT ?", (limit,)
        )
        return [result for row in rows if (result := _entry(row).result) is not None]

    def prune(self, now: float, keep: float = KEEP_SECONDS) -> None:
        """Forget acknowledged commands that ended more than `keep` seconds ago."""
        self._write("DELETE FROM commands WHERE acked = 1 AND ended_at < ?", (now - keep,))

    def _fact(self, name: str) -> str | None:
        rows = self._read("SELECT value FROM facts WHERE name = ?", (name,))
        return str(rows[0][0]) if rows else None

    def _read(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._db.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise JournalError(f"the journal {self._path} cannot be read: {error}") from error

    def _write(self, sql: str, values: Sequence[Any]) -> None:
        with self._lock:
            try:
                self._db.execute(sql, values)
            except sqlite3.Error as error:
                raise JournalError(f"the journal {self._path} cannot be written: {error}") from error


def _entry(row: tuple[Any, ...]) -> Entry:
    number, operation, epoch, sent_at, deadline, action, args, state, ok, data, code, error, acked = row[:13]
    command = Command(
        id=number,
        operation=operation,
        epoch=epoch,
        sent_at=sent_at,
        deadline=deadline,
        action=action,
        args=json.loads(args),
    )
    result = None
    if state == "done":
        result = CommandResult(command=number, ok=bool(ok), data=json.loads(data), code=code, error=error)
    return Entry(command=command, state=state, result=result, acked=bool(acked))
