"""Requests that take long do no harm to others; what a restart takes up again is begun once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from coordinator_rig import ask, join_host, report, running_core

from hpgreedy.coordinator.core import Core
from hpgreedy.model import HostState
from hpgreedy.operations.world import HostLive, Now

VMS = [{"id": n, "cpu": 1, "memory": "1MiB"} for n in range(50)]


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    """Two hosts with 100 CPUs, heard of at second 1000."""
    async with running_core(tmp_path) as core:
        at(core, 1000)
        join_host(core, 1, cpus=100)
        join_host(core, 2, cpus=100)
        yield core


def at(core: Core, second: float) -> Now:
    now = Now(1e6 + second, second)
    core.now = lambda: now  # type: ignore[method-assign]
    return now


def states(core: Core) -> list[HostState]:
    fleet = core.world.fleet(core.now())
    by_records = [core.world.host_state(name, core.now())[0] for name in ("h1", "h2")]
    assert [fleet.hosts[fleet.position[name]].state for name in ("h1", "h2")] == by_records
    return by_records


@pytest.mark.parametrize("verb", ["place", "submit"])
async def test_a_request_that_takes_too_long_is_refused_whole(core: Core, verb: str) -> None:
    ticks = iter(range(10_000))
    core.world.clock = lambda: float(next(ticks))
    reply = await ask(core, verb, "r", vms=VMS)
    assert reply.code == "busy"
    assert "deciding on 50 VMs takes too long: 2 of them were decided on in 4 s" in reply.error
    assert core.world.vms == {}
    assert not list(core.world.fleet(core.now()).claims())


async def test_one_vm_is_decided_on_however_long_it_takes(core: Core) -> None:
    ticks = iter(range(0, 100_000, 10))
    core.world.clock = lambda: float(next(ticks))
    assert (await ask(core, "place", "r", vms=VMS[:1])).ok


async def test_hosts_are_not_silent_while_nobody_listens(core: Core) -> None:
    core.engine.awake(at(core, 1001))
    core.engine.awake(at(core, 1015))
    assert states(core) == [HostState.UP, HostState.UP]
    for second in range(1016, 1023):
        core.engine.awake(at(core, second))
        assert states(core) == [HostState.UP, HostState.UP]
    report(core, "h2")
    core.engine.awake(at(core, 1023))
    assert states(core) == [HostState.UNREACHABLE, HostState.UP]


async def test_a_host_that_was_silent_before_stays_unreachable(core: Core) -> None:
    for second in range(1000, 1010):
        core.engine.awake(at(core, second))
    assert states(core) == [HostState.UNREACHABLE, HostState.UNREACHABLE]
    core.engine.awake(at(core, 1030))
    assert states(core) == [HostState.UNREACHABLE, HostState.UNREACHABLE]


async def test_a_request_after_a_long_one_finds_the_hosts_up(core: Core) -> None:
    core.engine.awake(at(core, 1001))
    at(core, 1020)
    assert (await ask(core, "place", "r", vms=VMS)).ok


async def test_a_step_that_its_parent_begins_is_not_begun_again_by_the_restart(core: Core) -> None:
    for number, gib in ((3, 10), (4, 10), (5, 2)):
        join_host(core, number, cpus=8, memory=gib * 1024)
    held = (("a", 4, "h3"), ("b", 6, "h4"), ("c", 2, "h4"))
    vms = [{"id": name, "cpu": 1, "memory": gib, "host": host} for name, gib, host in held]
    assert (await ask(core, "submit", "r1", vms=vms)).ok
    for key, vm in list(core.world.vms.items()):
        core.world.vms[key] = msgspec.structs.replace(vm, operation=None, made=True)
    for name in core.world.hosts:
        report(core, name)
    assert (await ask(core, "submit", "r2", vms=[{"id": "new", "cpu": 1, "memory": 10}])).ok
    step = next(op for op in core.world.open_operations() if op.parent is not None)
    core.world.operations[step.id] = msgspec.structs.replace(step, state="pending", waiting=(), attempt=0)
    for name in core.world.hosts:
        core.world.live[name] = HostLive()
    core.apply(core.engine.resume(core.now()))
    begun = core.world.operations[step.id]
    assert (begun.state, begun.tries) == ("preparation", 1)
