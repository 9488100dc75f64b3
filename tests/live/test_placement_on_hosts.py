"""The placer on real hosts: chains of live migrations, groups apart and together, capped CPU models."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.live.conftest import Live

RICHER = "Nehalem"
CAP = "Conroe"


def vm(name: str, mib: int = 128, **more: Any) -> dict[str, Any]:
    size = f"{mib}MiB"
    return {"id": name, "cpu": 1, "memory": size, "max_memory": size, **more}


def text(*vms: dict[str, Any]) -> str:
    return json.dumps({"vms": list(vms)})


def refused(live: Live, *words: str, vms: str) -> dict[str, Any]:
    done = live.raw("submit", "-", *words, "--json", text=vms)
    assert done.returncode == 1, done.stdout + done.stderr
    error: dict[str, Any] = json.loads(done.stdout)["error"]
    return error


def places(live: Live) -> dict[str, str]:
    return {name: found["host"] for name, found in live.vms().items()}


@pytest.fixture
def without_h3(live: Live) -> Iterator[Live]:
    """The agent of h3 is killed, so that its host counts as unreachable."""
    live.cluster.kill("agent-h3")
    live.wait_for("h3 silent", lambda: live.ask("host", "show", "h3")["state"] == "unreachable")
    yield live
    live.cluster.start_agent("h3")
    live.wait_for("all hosts up", live.hosts_up)


@pytest.fixture
def capped(live: Live) -> Iterator[Live]:
    """The agent of h2 offers no CPU model that is richer than the cap."""
    lines = live.cluster.lines
    live.restart_agents(dataclasses.replace(lines, host_extra={"h2": ("--offer-cpu", CAP)}))
    yield live
    live.delete_all()
    live.restart_agents(lines)


def test_two_live_migrations_make_room_for_a_vm_that_fits_nowhere(live: Live) -> None:
    whole = {host["name"]: host["memory"] for host in live.ask("host", "list")}
    part = min(whole.values()) // 16
    slack = {name: memory - 16 * part for name, memory in whole.items()}
    live.submit([
        vm("a", 6 * part, host="h1"),
        vm("b", 10 * part + slack["h2"], host="h2"),
        vm("c", 3 * part, host="h2"),
        vm("d", 13 * part + slack["h3"], host="h3"),
    ])  # fmt: skip
    live.wait_booted("a", "b", "c", "d")
    before, counts = places(live), {name: live.count(name) for name in ("a", "c")}
    new = text(vm("new", 16 * part))
    refused(live, "--algorithm", "best_fit", vms=new)
    shown = live.ask("submit", "-", "--algorithm", "greedy", "--dry-run", "--explain", text=new)
    (placement,) = shown["placements"]
    moves = [(move["vm"], move["from"], move["to"]) for move in placement["moves"]]
    assert moves == [("c", "h2", "h3"), ("a", "h1", "h2")]
    assert placement["host"] == "h1"
    assert [each["vm"] for each in placement["explanation"]["moves"]] == ["c", "a"]
    assert places(live) == before
    assert all(op["done"] for op in live.ask("op", "list"))

    live.submit([vm("new", 16 * part)], "greedy")
    assert places(live) == {"a": "h2", "b": "h2", "c": "h3", "d": "h3", "new": "h1"}
    listed = live.virsh_list()
    assert listed == {"h1": {"new"}, "h2": {"a", "b"}, "h3": {"c", "d"}}
    done = {op["vm"]: op for op in live.ask("op", "list") if op["kind"] == "migrate" and op["parent"]}
    assert done["c"]["updated"] <= done["a"]["updated"]
    for name, count in counts.items():
        later = live.count(name)
        assert later["start_id"] == count["start_id"], "it was started anew instead of moved"
        assert later["count"] > count["count"]


def test_apart_and_together_on_real_hosts_and_nothing_on_a_silent_one(without_h3: Live) -> None:
    live = without_h3
    rule = {"group": "web", "affinity": [{"rule": "apart", "group": "web"}]}
    live.submit([vm("web-1", **rule), vm("web-2", **rule)])
    assert sorted(places(live).values()) == ["h1", "h2"]
    error = refused(live, vms=text(vm("web-3", **rule)))
    reasons = {each["host"]: each["reason"] for each in error["details"]["rejections"]}
    assert reasons == {"h1": "apart", "h2": "apart", "h3": "state"}
    assert error["details"]["explanation"]["change"]["sentence"]
    live.submit([vm("db", host="h2", group="db")])
    near = {"affinity": [{"rule": "together", "group": "db"}]}
    live.submit([vm("cache", **near)])
    found = places(live)
    assert found["cache"] == "h2"
    rules = live.ask("vm", "show", "cache")["rules"]
    assert rules == ["it must be together with group db"]
    moved = live.raw("vm", "migrate", "web-1", "--json")
    assert moved.returncode == 1
    reasons = {r["host"]: r["reason"] for r in json.loads(moved.stdout)["error"]["details"]["rejections"]}
    assert reasons[found["web-2"]] == "apart"
    assert places(live) == found


def test_a_host_with_a_capped_cpu_takes_no_vm_with_a_richer_model(capped: Live) -> None:
    live = capped
    error = refused(live, vms=text(vm("rich", host="h2", cpu_model=RICHER)))
    assert error["message"].endswith(f"cpu model: needs {RICHER}, its offer is capped at {CAP}"), error[
        "message"
    ]
    live.submit([vm("rich", cpu_model=RICHER, host="h1"), vm("poor", cpu_model=CAP, host="h2")])
    live.wait_booted("rich", "poor")
    assert live.ask("vm", "show", "rich")["cpu_model"] == RICHER
    refusal = live.raw("vm", "migrate", "rich", "--to", "h2")
    assert refusal.returncode == 1
    assert f"its offer is capped at {CAP}" in refusal.stderr
    live.ask("vm", "migrate", "rich")
    assert places(live) == {"rich": "h3", "poor": "h2"}
