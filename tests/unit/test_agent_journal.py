import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agent.journal import Journal, JournalError
from protocol.messages import Command, CommandResult


def command(number: str = "c1", **changes) -> Command:
    fields = {
        "id": number,
        "operation": "7",
        "epoch": 3,
        "sent_at": 10.5,
        "deadline": 60.0,
        "action": "start",
        "args": {"uuid": "u", "nested": {"a": [1, None, "é"]}},
    }
    return Command(**{**fields, **changes})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def test_the_host_id_is_made_once(path: Path):
    first = Journal(path)
    host = first.host_id()
    assert first.host_id() == host
    first.close()
    assert Journal(path).host_id() == host
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_highest_epoch_only_rises(path: Path):
    journal = Journal(path)
    assert journal.highest_epoch() == 0
    journal.raise_epoch(5)
    journal.raise_epoch(2)
    journal.close()
    assert Journal(path).highest_epoch() == 5


def test_a_command_goes_through_its_states(path: Path):
    journal = Journal(path)
    assert journal.get("c1") is None
    journal.accept(command(), 1.0)
    assert [(e.state, e.command) for e in journal.unfinished()] == [("accepted", command())]
    journal.running("c1")
    assert journal.get("c1").state == "running"
    result = CommandResult(command="c1", ok=False, data={"x": 1}, code="busy", error="wait")
    journal.finish(result, 2.0)
    assert journal.unfinished() == []
    assert journal.get("c1").result == result
    assert journal.unacknowledged() == [result]
    journal.acknowledge("c1")
    assert journal.unacknowledged() == []
    assert journal.get("c1").acked


def test_the_first_result_stays(path: Path):
    journal = Journal(path)
    journal.accept(command(), 1.0)
    journal.finish(CommandResult(command="c1", ok=True), 2.0)
    journal.finish(CommandResult(command="c1", ok=False, code="failed"), 3.0)
    journal.running("c1")
    assert journal.get("c1").result == CommandResult(command="c1", ok=True)


def test_an_unfinished_command_cannot_be_acknowledged(path: Path):
    journal = Journal(path)
    journal.accept(command(), 1.0)
    journal.acknowledge("c1")
    journal.finish(CommandResult(command="c1", ok=True), 2.0)
    assert len(journal.unacknowledged()) == 1


def test_only_old_acknowledged_commands_are_pruned(path: Path):
    journal = Journal(path)
    for number in ("old", "new", "unacked", "open"):
        journal.accept(command(number), 0.0)
    for number, at in (("old", 10.0), ("new", 500.0), ("unacked", 10.0)):
        journal.finish(CommandResult(command=number, ok=True), at)
    journal.acknowledge("old")
    journal.acknowledge("new")
    journal.prune(600.0, keep=300.0)
    assert [journal.get(n) is not None for n in ("old", "new", "unacked", "open")] == [
        False,
        True,
        True,
        True,
    ]


def test_looks_are_forgotten_once_acknowledged(path: Path):
    journal = Journal(path)
    journal.accept(command("look", action="inspect"), 0.0)
    journal.finish(CommandResult(command="look", ok=True), 1.0)
    journal.acknowledge("look")
    assert journal.get("look") is None


def test_threads_may_share_it(path: Path):
    journal = Journal(path)

    def work(n: int) -> None:
        for i in range(10):
            journal.accept(command(f"{n}-{i}"), float(i))
            journal.running(f"{n}-{i}")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(journal.unfinished()) == 40


def test_what_is_written_survives_a_kill(path: Path):
    program = (
        "import sys, os, signal; from pathlib import Path\n"
        "from agent.journal import Journal; from protocol.messages import Command\n"
        "j = Journal(Path(sys.argv[1])); j.raise_epoch(9)\n"
        "j.accept(Command(id='c', operation='1', epoch=9, sent_at=1, deadline=2, action='start'), 1.0)\n"
        "j.running('c'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        check=False,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert done.returncode == -signal.SIGKILL
    journal = Journal(path)
    assert journal.highest_epoch() == 9
    assert [(e.command.id, e.state) for e in journal.unfinished()] == [("c", "running")]


def test_a_damaged_journal_is_one_sentence_and_stays(path: Path):
    path.write_bytes(b"not a database, but long enough to look at" * 100)
    with pytest.raises(JournalError, match="cannot be used"):
        Journal(path)
    assert path.read_bytes().startswith(b"not a database")
