"""What a client shows of the queue and of what a host's death would strand."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from client_fakes import FakeCoordinator, make_op, make_status, make_vm

from hpgreedy.client import tables
from hpgreedy.client.follow import describe
from hpgreedy.client.main import main
from protocol.verbs import AlgorithmView, LossView, OpsStarted

WAITS = "waits for an exact fit: round 1 of 3; h1 has 4 cpus with 6GiB free"


def test_lists_say_what_a_vm_waits_for() -> None:
    assert tables.vm_table((make_vm(operation=7, waits_for=WAITS),)).rows[0][-1] == WAITS
    assert ("waits", WAITS) in tables.vm_facts(make_vm(waits_for=WAITS)).rows
    assert tables.op_table((make_op(state="waiting", waits_for=WAITS),), 0.0).rows[0][-1] == WAITS
    assert ("waits", WAITS) in tables.op_facts(make_op(state="waiting", waits_for=WAITS)).rows
    assert describe(make_op(state="waiting", waits_for=WAITS)) == f"web-1: {WAITS}"


def test_the_status_says_whose_death_strands_whom_and_how_many_more_hosts() -> None:
    losses = tuple(LossView(host=f"h{n}", vms=tuple(f"v{m}" for m in range(n + 1))) for n in range(10))
    rows = tables.status_facts(make_status(losses=losses, admission="n1")).rows
    assert ("admission", "n1") in rows
    told = [text for head, text in rows if head == "at risk"]
    assert told[0] == "if host h0 dies, these VMs cannot be restarted: v0"
    assert len(told) == tables.MOST_LISTED + 1
    assert told[-1] == "the same holds for 2 more hosts (--json lists all)"
    many = tables.status_facts(make_status(losses=losses[-1:])).rows[-1][1]
    assert many.endswith("v6, v7 and 2 more")


def test_the_prompt_does_not_stand_still_for_what_waits_and_flushes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waiting = make_op(state="waiting", waits_for=WAITS)
    done = make_op(state="completed", done=True, ok=True, target="h1")
    algorithms = (AlgorithmView(name="delayed", summary="", source="", default=False),)
    answers = {
        "status": make_status(),
        "algorithm.list": algorithms,
        "submit": OpsStarted(operations=(waiting,)),
        "flush": OpsStarted(operations=(done,)),
    }
    monkeypatch.setattr(sys, "stdin", io.StringIO("4\nflush\nexit\n"))
    with FakeCoordinator(answers) as fake:
        fake.write_access(tmp_path)
        assert main([f"127.0.0.1:{fake.port}", "delayed", "--state", str(tmp_path)]) == 0
        assert fake.requests("op.show") == []
    out = capsys.readouterr().out
    assert WAITS in out
    assert "running on h1" in out
