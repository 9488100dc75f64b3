"""The SQLite file itself: whose it is, who may read it, which revision it has, what a crash leaves."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

import hpgreedy.store
from hpgreedy.operations.ports import Change, NewerDatabase, StaleEpoch, StoreError
from hpgreedy.store import open_store, tables

ROOT = Path(hpgreedy.store.__file__).parents[2]


def opened(path, now=1.0):
    return open_store(path, lambda: now)


def run(code, *arguments):
    return [sys.executable, "-c", code, *map(str, arguments)]


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.db"


def test_only_the_owner_can_read_it_whatever_the_umask(path):
    before = os.umask(0)
    try:
        store = opened(path)
        store.append(store.claim_epoch(), [Change(kind="vm", key="a", value={})])
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
        store.close()
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("state.db", "state.db-wal", "state.db-shm"), 0o600)


def test_a_mode_that_was_widened_is_narrowed_again(path):
    opened(path).close()
    path.chmod(0o644)
    opened(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_it_writes_ahead_and_waits_for_the_disk(path):
    store = opened(path)
    with store._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() >= 5000
    store.close()


@pytest.mark.parametrize("content", [b"hello, this is no database\n", b"SQLite", b"\x00" * 4096])
def test_a_file_of_another_kind_is_refused_and_left_alone(path, content):
    path.write_bytes(content)
    path.chmod(0o644)
    with pytest.raises(StoreError, match=r"state\.db is not a database; it was left as it is"):
        opened(path)
    assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_database_of_another_program_is_refused_and_left_alone(path):
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE songs (name TEXT)")
    other.close()
    content = path.read_bytes()
    with pytest.raises(StoreError, match=r"another program.*'songs'.*give another path"):
        opened(path)
    assert path.read_bytes() == content


def filled(path):
    store = opened(path)
    epoch = store.claim_epoch()
    for n in range(200):
        store.append(epoch, [Change(kind="vm", key=f"vm{n}", value={"text": "x" * 200})])
    store.close()
    return path.stat().st_size


@pytest.mark.parametrize("where", [0.0, 0.3, 0.6, 0.9])
def test_a_damaged_database_is_refused_with_what_to_do(path, where):
    size = filled(path)
    offset = max(100, int(size * where) // 4096 * 4096)
    with path.open("r+b") as handle:
        handle.seek(offset)
        handle.write(b"\xa5" * 4000)
    content = path.read_bytes()
    with pytest.raises(StoreError, match=r"is damaged .*restore a backup"):
        opened(path)
    assert path.read_bytes() == content


def test_a_truncated_database_is_refused(path):
    size = filled(path)
    os.truncate(path, size // 2)
    with pytest.raises(StoreError, match="is damaged"):
        opened(path)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"missing/state\.db cannot be used: No such file or directory"):
        opened(tmp_path / "missing" / "state.db")


def test_a_folder_in_its_place_is_named(tmp_path):
    with pytest.raises(StoreError, match="cannot be used: Is a directory"):
        opened(tmp_path)


def test_a_newer_database_is_refused_and_left_alone(path):
    opened(path).close()
    with sqlite3.connect(path) as newer:
        newer.execute("UPDATE hpgreedy_schema SET version_num = '0999'")
    newer.close()
    with pytest.raises(NewerDatabase, match=r"newer version \(its revision is 0999, this version knows up"):
        opened(path)
    with sqlite3.connect(path) as newer:
        assert newer.execute("SELECT version_num FROM hpgreedy_schema").fetchall() == [("0999",)]
    newer.close()


def test_a_database_without_a_table_of_ours_fails_in_a_sentence(path):
    store = opened(path)
    with sqlite3.connect(path) as other:
        other.execute("DROP TABLE records")
    other.close()
    with pytest.raises(StoreError, match=r"reading the records failed in .*state\.db: no such table"):
        store.load()
    store.close()


def test_a_batch_that_fails_half_way_leaves_nothing(path):
    store = opened(path)
    epoch = store.claim_epoch()
    with sqlite3.connect(path) as other:
        other.execute("DROP TABLE log")
    other.close()
    with pytest.raises(StoreError, match=r"storing a batch failed .*; nothing of it was stored"):
        store.append(epoch, [Change(kind="vm", key="a", value={})])
    assert store.load() == {}
    store.close()


def test_the_migrations_make_exactly_the_tables_the_code_uses(path):
    opened(path).close()
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": tables.VERSION_TABLE})
        assert compare_metadata(context, tables.metadata) == []
    engine.dispose()


def test_the_known_revisions_are_those_of_the_migrations():
    scripts = ScriptDirectory(str(Path(hpgreedy.store.__file__).with_name("migrations")))
    assert tuple(script.revision for script in reversed(list(scripts.walk_revisions()))) == tables.REVISIONS
    assert scripts.get_heads() == [tables.HEAD]


def test_the_tables_can_be_made_in_postgresql():
    for table in tables.metadata.sorted_tables:
        statement = str(CreateTable(table).compile(dialect=postgresql.dialect()))
        assert statement.strip().startswith(f"CREATE TABLE {table.name}")
    assert "seq BIGSERIAL" in str(CreateTable(tables.log).compile(dialect=postgresql.dialect()))


def test_an_up_to_date_database_opens_without_alembic(path):
    code = """
import sys
from hpgreedy.store import open_store
open_store(sys.argv[1], lambda: 1.0).close()
print("alembic" in sys.modules)
"""
    said = [
        subprocess.run(
            run(code, path), env=environment(), check=True, capture_output=True, text=True
        ).stdout.strip()
        for _ in range(2)
    ]
    assert said == ["True", "False"]


def test_several_processes_may_make_it_at_once(path):
    code = """
import sys
from hpgreedy.store import open_store
sys.stdin.readline()
store = open_store(sys.argv[1], lambda: 1.0)
print(store.claim_epoch())
"""
    starts = [
        subprocess.Popen(
            run(code, path), env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    said = [process.communicate("go\n", timeout=60)[0] for process in starts]
    assert sorted(map(int, said)) == [1, 2, 3, 4]


def test_a_store_opened_in_one_thread_works_in_another(path):
    store = opened(path)
    epoch = store.claim_epoch()
    failures = []

    def write():
        try:
            store.append(epoch, [Change(kind="vm", key="a", value={"n": 1})])
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    thread.join(30)
    assert failures == []
    assert store.load() == {"vm": {"a": {"n": 1}}}
    store.close()


APPENDER = """
import sys
from hpgreedy.operations.ports import Change
from hpgreedy.store import open_store
store = open_store(sys.argv[1], lambda: 1.0)
epoch = store.claim_epoch()
n = 0
while True:
    n += 1
    batch = [Change(kind="vm", key=f"vm{i}", value={"n": n, "pad": "x" * 500}) for i in range(20)]
    batch.append(Change(kind="operation", key=str(n), value={}))
    batch.append(Change(kind="operation", key=str(n - 1), value=None))
    store.append(epoch, batch)
    print(n, flush=True)
"""


@pytest.mark.parametrize("after", [1, 7, 40])
def test_kill_9_leaves_a_prefix_of_whole_batches(path, after):
    process = subprocess.Popen(run(APPENDER, path), env=environment(), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(after):
        acknowledged = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().splitlines(keepends=True)
    process.wait(30)
    process.stdout.close()
    acknowledged = max([acknowledged, *(int(line) for line in rest if line.endswith("\n"))])

    store = opened(path)
    records, log = store.load(), store.log()
    last = log[-1].seq
    assert acknowledged <= last <= acknowledged + 1
    assert [entry.seq for entry in log] == list(range(1, last + 1))
    assert {value["n"] for value in records["vm"].values()} == {last}
    assert len(records["vm"]) == 20
    assert list(records["operation"]) == [str(last)]
    assert store.claim_epoch() == 2
    with pytest.raises(StaleEpoch):
        store.append(1, [])
    store.close()


def test_a_kill_while_it_is_first_made_leaves_it_openable(path):
    code = """
import os, signal, sys
from alembic import op
from hpgreedy.store import open_store
real = op.create_index
def die(*args, **kwargs):
    real(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)
op.create_index = die
open_store(sys.argv[1], lambda: 1.0)
"""
    done = subprocess.run(run(code, path), env=environment(), check=False)
    assert done.returncode == -signal.SIGKILL
    store = opened(path)
    assert store.claim_epoch() == 1
    store.close()


def test_two_writers_never_both_succeed_under_their_epochs(path):
    one, two = opened(path), opened(path)
    stop = threading.Event()
    stored, refused = [], []

    def write(store):
        while not stop.is_set():
            epoch = store.claim_epoch()
            for _ in range(3):
                try:
                    store.append(epoch, [Change(kind="meta", key="last", value={"epoch": epoch})])
                    stored.append(epoch)
                except StaleEpoch:
                    refused.append(epoch)
                    break
            if len(stored) > 60:
                stop.set()

    threads = [threading.Thread(target=write, args=(store,)) for store in (one, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    epochs = [entry.epoch for entry in one.log()]
    assert epochs == sorted(epochs)
    assert len(epochs) == len(stored)
    one.close()
    two.close()
