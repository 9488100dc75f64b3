"""submit --dry-run and --explain, and what a refusal shows beyond its sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from client_fakes import FakeCoordinator, make_op

from hpgreedy.client.main import main
from protocol.explanation import Alike, Change, Explanation, RejectedClass
from protocol.messages import Reply
from protocol.verbs import OpsStarted, PlacementPlan, PlacementView, PlannedMove

MEMORY = RejectedClass(
    reason="memory",
    count=2,
    best="h2",
    detail="needs 8GiB, 4GiB free of 16GiB",
    need=8192,
    have=4096,
    groups=1,
    alike=(Alike(detail="needs 8GiB, 4GiB free of 16GiB", count=2, hosts=("h2", "h3")),),
)
PLACED = Explanation(
    vm="new", outcome="placed", algorithm="greedy", why="greedy: room is made", host="h1", hosts=3, taking=0,
    rejected=(MEMORY,),
)  # fmt: skip
REFUSED = Explanation(
    vm="new", outcome="refused", algorithm="greedy", why="no host has 8GiB free", hosts=2, taking=0,
    rejected=(MEMORY,), change=Change(host="h2", edits=(), sentence="free 4GiB on h2"),
)  # fmt: skip
PLACEMENT = PlacementView(
    vm="new",
    host="h1",
    moves=(PlannedMove(vm="old", source="h1", target="h2", memory=2048, copy=True),),
    why="greedy: room is made",
    algorithm="greedy",
)


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "vms.json"
    path.write_text(json.dumps({"vms": [{"id": "new", "cpu": 1, "memory": 8}]}))
    return str(path)


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[FakeCoordinator]:
    def plan(asked: dict[str, Any]) -> PlacementPlan:
        why = PLACED if asked.get("explain") else None
        placement = msgspec.structs.replace(PLACEMENT, explanation=why)
        return PlacementPlan(placements=(placement,), notes=("a note",))

    def started(asked: dict[str, Any]) -> OpsStarted:
        placements = plan(asked).placements if asked.get("explain") else ()
        return OpsStarted(operations=(make_op(vm="new"),), placements=placements)

    with FakeCoordinator({"submit": started, "place": plan}) as fake:
        fake.write_access(tmp_path)
        yield fake


def test_a_dry_run_asks_and_submits_nothing(
    tmp_path: Path, coordinator: FakeCoordinator, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["submit", file, "--dry-run", "--algorithm", "greedy", "--state", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert [verb for verb, _ in coordinator.asked] == ["place"]
    assert coordinator.requests("place")[0]["algorithm"] == "greedy"
    lines = [line.split() for line in out.splitlines()]
    assert ["new", "h1", "-", "-", "greedy:", "room", "is", "made"] in lines
    assert ["old", "h1", "h2", "2GiB", "and", "its", "disks", "makes", "room", "for", "new"] in lines
    assert out.splitlines()[0] == "note: a note"
    assert out.splitlines()[-1] == "Nothing was changed."


def test_a_dry_run_as_json_is_the_answer_and_nothing_else(
    tmp_path: Path, coordinator: FakeCoordinator, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["submit", file, "--dry-run", "--explain", "--json", "--state", str(tmp_path)]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["placements"][0]["moves"] == [
        {"vm": "old", "from": "h1", "to": "h2", "memory": 2048, "numa_nodes": [], "copy": True}
    ]
    assert found["placements"][0]["explanation"]["rejected"][0]["reason"] == "memory"


def test_explain_is_sent_and_shown(
    tmp_path: Path, coordinator: FakeCoordinator, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["submit", file, "--explain", "--state", str(tmp_path)]) == 0
    assert coordinator.requests("submit")[0]["explain"] is True
    assert "h2, h3: memory: needs 8GiB, 4GiB free of 16GiB" in capsys.readouterr().out
    assert main(["submit", file, "--state", str(tmp_path)]) == 0
    assert "explain" not in coordinator.requests("submit")[1], "an older coordinator would not know it"
    assert "h2, h3" not in capsys.readouterr().out


def test_a_refusal_shows_each_class_of_hosts_and_what_would_help(
    tmp_path: Path, coordinator: FakeCoordinator, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    details = json.loads(msgspec.json.encode({"explanation": REFUSED, "ever": True}))
    sentence = "new was not placed: no host has 8GiB free"
    coordinator.answers["submit"] = Reply(ok=False, code="refused", error=sentence, details=details)
    assert main(["submit", file, "--state", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    first, *lines = shown.err.splitlines()
    assert first == sentence
    assert any(line.endswith("h2, h3: memory: needs 8GiB, 4GiB free of 16GiB") for line in lines)
    assert any(line.endswith("free 4GiB on h2") for line in lines)
    assert not any("no host has 8GiB free" in line for line in lines)
    assert main(["submit", file, "--json", "--state", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out)["error"]["details"] == details
    assert shown.err == sentence + "\n"


def test_details_of_a_newer_coordinator_are_passed_over(
    tmp_path: Path, coordinator: FakeCoordinator, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    details = {"explanation": {"unheard": "of"}}
    coordinator.answers["submit"] = Reply(ok=False, code="refused", error="no.", details=details)
    assert main(["submit", file, "--state", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "no.\n"
