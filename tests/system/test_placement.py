"""Dry runs, chains of moves and exports with the real programs; hosts of 4 CPUs and 8 GiB are simulated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import System


def vm(name: str, memory: float, **more: object) -> dict[str, object]:
    return {"id": name, "cpu": 1, "memory": memory, **more}


def text(*vms: dict[str, object]) -> str:
    return json.dumps({"vms": list(vms)})


def where(system: System) -> dict[str, str]:
    return {str(item["id"]): item["host"] for item in system.ask("vm", "list")}


@pytest.fixture
def tight(system: System) -> Iterator[System]:
    """An 8 GiB VM has room on s1 once two others have moved, one after the other."""
    vms = (vm("a", 3, host="s1"), vm("b", 5, host="s2"), vm("c", 2, host="s2"), vm("d", 6, host="s3"))
    system.ask("submit", "-", "--wait", text=text(*vms))
    yield system
    for name in where(system):
        system.ask("vm", "delete", name, "--force")


def moves(plan: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(move["vm"], move["from"], move["to"]) for move in plan["placements"][0]["moves"]]


def test_a_dry_run_then_the_chain_then_offline(tight: System, tmp_path: Path) -> None:
    file = tmp_path / "cluster.json"
    new = vm("new", 8)
    before = where(tight)
    shown = tight.ask("submit", "-", "--dry-run", "--explain", text=text(new))
    assert moves(shown) == [("c", "s2", "s3"), ("a", "s1", "s2")]
    assert where(tight) == before
    assert tight.client("export", str(file)).returncode == 0
    content = json.loads(file.read_text())
    content["vms"].append(new)
    file.write_text(json.dumps(content))
    offline = tight.run("run_client.py", "simulate", "place", str(file), "--json")
    assert offline.returncode == 0, offline.stderr
    found = json.loads(offline.stdout)
    assert [(move["vm"], move["from"], move["to"]) for move in found["moves"]] == moves(shown)
    assert [(each["vm"], each["host"]) for each in found["placements"]] == [("new", "s1")]
    tight.ask("submit", "-", "--wait", text=text(new))
    assert where(tight) == {"a": "s2", "b": "s2", "c": "s3", "d": "s3", "new": "s1"}


def test_a_refusal_in_words_and_as_json(tight: System) -> None:
    big = text(vm("big", 9))
    said = tight.client("submit", "-", text=big)
    assert said.returncode == 1
    lines = said.stderr.splitlines()
    assert lines[0].startswith("big was not placed: ")
    for host in ("s1", "s2", "s3"):
        assert any(host in line and "memory: needs 9GiB" in line for line in lines[1:])
    asked = tight.client("submit", "-", "--json", text=big)
    details = json.loads(asked.stdout)["error"]["details"]
    assert {each["host"] for each in details["rejections"]} == {"s1", "s2", "s3"}
    assert details["explanation"]["change"] is not None
    migrated = tight.client("vm", "migrate", "b", "--to", "s3", "--json")
    assert migrated.returncode == 1
    assert json.loads(migrated.stdout)["error"]["details"]["explanation"]["vm"] == "b"


def test_a_killed_coordinator_goes_on_with_the_chain(tight: System) -> None:
    tight.ask("submit", "-", text=text(vm("new", 8)))
    tight.kill("coordinator")
    tight.start_coordinator()
    tight.wait_for("the new VM", lambda: ended(tight))
    assert where(tight) == {"a": "s2", "b": "s2", "c": "s3", "d": "s3", "new": "s1"}
    assert {op["ok"] for op in tight.ask("op", "list", "--limit", "3")} == {True}


def ended(system: System) -> bool:
    return all(op["done"] for op in system.ask("op", "list"))


def test_vm_show_says_why_here_and_by_which_rules(tight: System) -> None:
    ruled = vm("ruled", 1, affinity=[{"rule": "avoid", "hosts": ["s1"]}])
    tight.ask("submit", "-", "--wait", text=text(ruled))
    shown = tight.client("vm", "show", "ruled").stdout
    assert "it must avoid s1" in shown
    assert "why there" in shown
