"""Dry runs, explanations and refusals at the clients' door, and how long a search may take."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from coordinator_rig import ask, join_host, report, running_core

from hpgreedy.coordinator.core import Core
from hpgreedy.operations.world import Settings
from protocol.codec import LIMIT, encode
from protocol.explanation import Explanation
from protocol.verbs import OpsStarted, PlacementPlan

NEW = {"id": "new", "cpu": 1, "memory": 10}


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    """Three hosts on which a VM of 10 GiB fits once two others have moved."""
    async with running_core(tmp_path) as core:
        await fill(core)
        yield core


async def fill(core: Core) -> None:
    for number, gib in enumerate((10, 10, 2), start=1):
        join_host(core, number, cpus=8, memory=gib * 1024)
    vms = [{"id": name, "cpu": 1, "memory": gib, "host": host} for name, gib, host in VMS]
    assert (await ask(core, "submit", "first", vms=vms)).ok
    for key, vm in list(core.world.vms.items()):
        core.world.vms[key] = msgspec.structs.replace(vm, operation=None, made=True)
    for name in core.world.hosts:
        report(core, name)


VMS = (("a", 4, "h1"), ("b", 6, "h2"), ("c", 2, "h2"))


def kept(core: Core) -> Any:
    world = core.world
    fleet = world.fleet(core.now())
    return (
        dict(world.vms),
        dict(world.operations),
        world.meta,
        dict(world.requests),
        set(map(str, fleet.claims())),
    )


async def test_a_dry_run_shows_what_a_submit_does_and_changes_nothing(core: Core) -> None:
    before = kept(core)
    reply = await ask(core, "place", "r", vms=[NEW], explain=True)
    assert reply.ok, reply.error
    assert kept(core) == before
    (shown,) = msgspec.convert(reply.result, PlacementPlan).placements
    assert [(move.vm, move.source, move.target, move.memory) for move in shown.moves] == [
        ("c", "h2", "h3", 2048),
        ("a", "h1", "h2", 4096),
    ]
    assert shown.explanation is not None
    assert [(each.vm, each.target) for each in shown.explanation.moves] == [("c", "h3"), ("a", "h2")]
    done = msgspec.convert((await ask(core, "submit", "r", vms=[NEW], explain=True)).result, OpsStarted)
    assert done.placements == (shown,)
    moves = [core.world.operations[number] for number in done.operations[0].children]
    assert [(op.vm, op.source, op.target) for op in moves] == [("c", "h2", "h3"), ("a", "h1", "h2")]
    view = (await ask(core, "vm.show", id="new")).result
    assert (view["host"], view["why_here"], view["runner_up"]) == (shown.host, shown.why, shown.runner_up)


async def test_a_submit_is_explained_only_where_that_is_asked_for(core: Core) -> None:
    reply = await ask(core, "submit", "r", vms=[{"id": "small", "cpu": 1, "memory": 1}])
    assert reply.result["placements"] == []


async def test_a_dry_run_of_many_places_each_on_top_of_those_before_it(core: Core) -> None:
    vms = [{"id": f"n{n}", "cpu": 1, "memory": 6} for n in range(2)]
    reply = await ask(core, "place", vms=vms)
    assert not reply.ok
    assert "n1 was not placed" in reply.error
    assert (await ask(core, "place", vms=vms[:1])).result["placements"][0]["host"] == "h1"


@pytest.mark.parametrize("verb", ["place", "submit"])
async def test_a_refusal_carries_its_explanation(core: Core, verb: str) -> None:
    vm = {**NEW, "memory": 11, "host_labels": {"gpu": "yes"}}
    reply = await ask(core, verb, vms=[vm])
    assert (reply.ok, reply.code) == (False, "refused")
    assert {each["host"]: each["reason"] for each in reply.details["rejections"]} == {
        "h1": "label",
        "h2": "label",
        "h3": "label",
    }
    why = msgspec.convert(reply.details["explanation"], Explanation)
    assert (why.outcome, why.hosts, why.taking) == ("refused", 3, 0)
    assert why.change is not None


async def test_a_refused_migration_too(core: Core) -> None:
    reply = await ask(core, "vm.migrate", id="b", to="h3")
    why = msgspec.convert(reply.details["explanation"], Explanation)
    assert (why.vm, why.outcome) == ("b", "refused")
    assert {each.reason for each in why.rejected} >= {"memory"}


async def test_a_refusal_by_very_many_hosts_still_fits_a_message(tmp_path: Path) -> None:
    async with running_core(tmp_path) as core:
        for number in range(1, 3001):
            join_host(core, number, memory=1024 + number, labels={"rack": f"r{number}"})
        reply = await ask(core, "submit", vms=[{"id": "big", "cpu": 4, "memory": 64}])
        assert reply.code == "refused"
        assert reply.details["explanation"]["hosts"] == 3000
        assert len(encode(reply, id="x", codec=b"j")[1]) < LIMIT // 10


@pytest.mark.parametrize("verb", ["place", "submit"])
async def test_numa_nodes_are_not_for_users_to_choose(core: Core, verb: str) -> None:
    reply = await ask(core, verb, vms=[{**NEW, "host": "h1", "numa": 1, "numa_nodes": [0]}])
    assert (reply.code, reply.field) == ("bad_request", "vms[0].numa_nodes")
    assert "vms[0].numa_nodes cannot be chosen in a submit; the placer chooses the nodes" in reply.error


async def test_a_vm_stays_among_hosts_that_run_it_as_it_was_made(tmp_path: Path) -> None:
    async with running_core(tmp_path) as core:
        join_host(core, 1, kind="kvm")
        join_host(core, 2, kind="qemu", cpus=8)
        vm = {"id": "a", "cpu": 1, "memory": 1, "host": "h1"}
        assert (await ask(core, "submit", "r1", vms=[vm])).ok
        core.world.vms["a"] = msgspec.structs.replace(core.world.vms["a"], operation=None, made=True)
        report(core, "h1")
        for number, to in enumerate(("h2", None)):
            reply = await ask(core, "vm.migrate", f"m{number}", id="a", to=to)
            assert reply.code == "refused"
            assert "was made under kvm, it runs guests by qemu" in reply.error + str(reply.details)
        join_host(core, 3, kind="kvm")
        assert (await ask(core, "vm.migrate", "m3", id="a", to="h3")).ok


async def test_no_deeper_than_the_operator_wants(tmp_path: Path) -> None:
    for depth, words in ((1, "no single live migration would make room"), (0, "")):
        async with running_core(tmp_path, Settings(room_depth=depth)) as core:
            await fill(core)
            reply = await ask(core, "submit", "r", vms=[NEW])
            assert not reply.ok
            assert words in reply.error
            assert "chain" not in reply.error


async def test_the_search_ends_when_its_seconds_are_over(core: Core) -> None:
    ticks = iter(range(10_000))
    core.world.clock = lambda: float(next(ticks))
    reply = await ask(core, "submit", "r", vms=[NEW])
    assert not reply.ok
    assert reply.details["explanation"]["searched"]["complete"] is False


async def test_vm_show_says_the_rules(core: Core) -> None:
    spec = {
        "id": "ruled", "cpu": 1, "memory": 1, "pinned": True, "nics": [],
        "affinity": [
            {"rule": "apart", "group": "web", "scope": "rack", "hard": False, "weight": 2},
            {"rule": "near", "hosts": ["h1", "h2"]},
        ],
    }  # fmt: skip
    assert (await ask(core, "submit", "r", vms=[spec])).ok
    assert (await ask(core, "vm.show", id="ruled")).result["rules"] == [
        "it should, with weight 2, be apart from group web, one rack being one place",
        "it must be near h1, h2",
        "it is never moved to make room for another",
    ]
