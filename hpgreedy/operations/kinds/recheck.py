"""Hard rules once more, right before something is done: what was decided may not hold any longer."""

from __future__ import annotations

from hpgreedy.model import HostState
from hpgreedy.operations.context import Context
from hpgreedy.operations.records import VmRecord
from hpgreedy.placement import Fleet, Reason, Rejection
from hpgreedy.placement.constraints import CONSTRAINTS, rejections_of
from hpgreedy.placement.decision import CAPACITY

WAITED_FOR = (HostState.UNREACHABLE, HostState.DOWN)
"""States of a host that pass by themselves: a command to it waits."""


def broken_rule(ctx: Context, vm: VmRecord, host: str) -> str | None:
    """The hard rule that keeps the VM off a host that was chosen for it, in words; None when all hold.

    What is held for the VM there is set aside, and so is what is held anywhere until others have left: that
    is looked at when its turn comes. A host that is merely silent breaks no rule.
    """
    found = [each for each in _rejections(ctx, vm, host) if not _passes(ctx, host, each)]
    return None if not found else f"a rule does not hold any longer: {found[0].sentence()}"


def broken_place(ctx: Context, vm: VmRecord, host: str) -> str | None:
    """The same for a VM that has its room there already: its size is not looked at."""
    found = [
        each
        for each in _rejections(ctx, vm, host)
        if each.reason is not Reason.STATE and each.reason not in CAPACITY
    ]
    return None if not found else f"a rule does not hold any longer: {found[0].sentence()}"


def _passes(ctx: Context, host: str, rejection: Rejection) -> bool:
    return rejection.reason is Reason.STATE and ctx.world.host_state(host, ctx.now)[0] in WAITED_FOR


def _rejections(ctx: Context, vm: VmRecord, host: str) -> list[Rejection]:
    fleet, world = ctx.world.fleet(ctx.now), ctx.world
    position = fleet.position.get(host)
    if position is None:
        return [Rejection(host=host, reason=Reason.STATE, detail="it is not registered")]
    later = [(world.operations[number].vm_key, world.operations[number].target) for number in world.ahead]
    world.tried(vm.key, *(key for key, _ in later))
    own = fleet.remove(vm.key, host)
    for key, where in later:
        if where is not None:
            fleet.remove(key, where)
    found = rejections_of(fleet, vm.demand.unbound(), position, CONSTRAINTS)
    return found + _of_nodes(fleet, position, own.numa_nodes if own is not None else (), vm)


def _of_nodes(fleet: Fleet, position: int, chosen: tuple[int, ...], vm: VmRecord) -> list[Rejection]:
    """The very nodes that were chosen must have the room, not just any."""
    nodes, host = fleet.nodes.get(position), fleet.hosts[position].key
    if not chosen or nodes is None:
        return []
    cpu, memory = vm.demand.numa_share
    return [
        Rejection(
            host=host, reason=Reason.NUMA, detail=f"its NUMA node {n} has no room for its share any more"
        )
        for n in chosen
        if n >= len(nodes.cpu) or nodes.cpu[n] < cpu or nodes.memory[n] < memory
    ]
