"""A coordinator without its doors, whose hosts are the test's author."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from hpgreedy.coordinator.access import Caller
from hpgreedy.coordinator.clients import answer
from hpgreedy.coordinator.committer import Committer
from hpgreedy.coordinator.core import Core
from hpgreedy.coordinator.images import ImageFiles
from hpgreedy.operations.records import Meta
from hpgreedy.operations.world import Settings, World
from hpgreedy.store import MemoryStore
from protocol.messages import Accelerator, Capacity, DomainReport, Hello, Reply, Report, Request, Usage

ADMIN = Caller("k" * 40, "admin", "root")


@contextlib.asynccontextmanager
async def running_core(folder: Path, settings: Settings | None = None) -> AsyncIterator[Core]:
    """A core with no hosts, whose committer runs."""
    store = MemoryStore(clock=lambda: 0.0)
    world = World(Meta(cluster="ab" * 16), settings or Settings())
    core = Core(world, Committer(store, store.claim_epoch()), ImageFiles(folder), "s" * 40)
    task = asyncio.create_task(core.committer.run())
    yield core
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def join_host(
    core: Core, number: int, cpus: int = 4, memory: int = 4096, kind: Any = "simulated", **facts: Any
) -> None:
    """Host hN says hello and reports that nothing runs there."""
    hello = Hello(
        host_id=f"00000000-0000-0000-0000-{number:012d}",
        name=f"h{number}",
        boot_id="b",
        hypervisor="x",
        hypervisor_uuid=f"10000000-0000-0000-0000-{number:012d}",
        address="a",
        migrate_uri="u",
        capacity=Capacity(cpus=cpus, memory_mib=memory),
        accelerator=Accelerator(kind=kind, reason=""),
        **facts,
    )
    core.apply(core.engine.host_hello(core.now(), f"{number:040d}", hello))
    report(core, f"h{number}")


def report(core: Core, host: str) -> None:
    """The host reports that all VMs that it has do run."""
    domains = tuple(
        DomainReport(uuid=vm.uuid, name=key, state="running", ours=True)
        for key, vm in core.world.vms.items()
        if vm.host == host
    )
    capacity = core.world.hosts[host].hello.capacity
    made = Report(seq=1, at=0.0, capacity=capacity, usage=Usage(), domains=domains)
    core.apply(core.engine.host_report(core.now(), host, made))


async def ask(core: Core, verb: str, number: str = "1", who: Caller = ADMIN, **args: Any) -> Reply:
    """What the clients' door answers."""
    return await asyncio.wait_for(answer(core, who, number, Request(verb=verb, args=args)), 20)
