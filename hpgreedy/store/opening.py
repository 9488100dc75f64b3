"""Opening the SQLite database: whose file it is, its revision, its settings."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from sqlalchemy import create_engine, event, inspect, text
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from hpgreedy.operations.ports import NewerDatabase, StoreError
from hpgreedy.store.batch import Clock
from hpgreedy.store.sql import SqlStore, database_words
from hpgreedy.store.tables import HEAD, REVISIONS, VERSION_TABLE

BUSY_SECONDS = 10
_MAGIC = b"SQLite format 3\x00"


def open_store(path: Path | str, clock: Clock) -> SqlStore:
    """Open the database at `path`, making it (mode 0600) or bringing its tables up to date.

    Raises NewerDatabase for a database of a newer version and StoreError for a file that is not ours,
    is damaged or cannot be used; such a file is left as it was.
    """
    file = Path(path)
    _look_at(file)
    engine = _engine(file)
    try:
        _prepare(engine, file)
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        engine.dispose()
        raise StoreError(_failed(file, error)) from error
    except StoreError:
        engine.dispose()
        raise
    return SqlStore(engine, clock, str(file))


def _look_at(file: Path) -> None:
    """Make the file when there is none, readable by its owner alone; refuse what is no SQLite database."""
    try:
        os.close(os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        with file.open("rb") as handle:
            start = handle.read(len(_MAGIC))
    except OSError as error:
        raise StoreError(_cannot(file, error.strerror or str(error))) from error
    if start and start != _MAGIC:
        raise StoreError(f"{file} is not a database; it was left as it is, give another path or move it away")


def _engine(file: Path) -> Engine:
    engine = create_engine(URL.create("sqlite", database=str(file)), connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def _on_connect(connection: sqlite3.Connection, _record: object) -> None:
        # Without this the driver begins transactions late and not around schema changes.
        connection.isolation_level = None
        connection.execute("PRAGMA synchronous=FULL")

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        # Immediate: a transaction that reads first and then writes cannot fail half-way for want of the lock.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _prepare(engine: Engine, file: Path) -> None:
    with engine.begin() as connection:
        _revision(connection, file)
    file.chmod(0o600)
    _settle(engine, file)
    with engine.begin() as connection:
        if _revision(connection, file) != HEAD:
            _upgrade(connection)


def _revision(connection: Connection, file: Path) -> str | None:
    """The database's revision, None when it is empty; refuses what this version must not touch."""
    names = inspect(connection).get_table_names()
    if VERSION_TABLE not in names:
        if names:
            raise StoreError(
                f"{file} is a database of another program (it has the table {sorted(names)[0]!r}); "
                "it was left as it is, give another path"
            )
        return None
    found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608
    if found is not None and found not in REVISIONS:
        raise NewerDatabase(
            f"{file} was written by a newer version (its revision is {found}, this version knows up to "
            f"{HEAD}); it was left as it is, start the newer version or restore a backup made before it"
        )
    return found


def _settle(engine: Engine, file: Path) -> None:
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        problem = cursor.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise StoreError(_damaged(file, " ".join(problem.split())))
        mode = cursor.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise StoreError(
                f"{file} cannot keep a write-ahead log (journal mode {mode!r}); put it on a local disk"
            )
    finally:
        connection.close()


def _upgrade(connection: Connection) -> None:
    # Alembic is loaded only when there is something to do: it costs more than all the rest of opening.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)


def _failed(file: Path, error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    if isinstance(cause, sqlite3.DatabaseError) and not isinstance(cause, sqlite3.OperationalError):
        return _damaged(file, str(cause))
    return _cannot(file, database_words(error))


def _damaged(file: Path, problem: str) -> str:
    return (
        f"the database {file} is damaged ({problem}); it was left as it is, restore a backup, "
        "or move it away and have it rebuilt from the hosts"
    )


def _cannot(file: Path, words: str) -> str:
    return f"the database {file} cannot be used: {words}; check its folder, its owner and the free space"
