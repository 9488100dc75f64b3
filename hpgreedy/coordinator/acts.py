"""What handlers of verbs have in common: what they return, whom they find, and how they wait for the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from hpgreedy.coordinator.access import Caller
from hpgreedy.coordinator.core import Core
from hpgreedy.operations.context import Context, Refusal
from hpgreedy.operations.records import OperationRecord, VmRecord
from protocol.spec import key_of
from protocol.verbs import PlacementView

Act = Callable[[Context], tuple[OperationRecord, ...]]


class Started(msgspec.Struct, frozen=True):
    """A verb that begins operations: `act` accepts them; the door makes that durable and answers.

    placements: filled by `act`, where they were asked for.
    """

    act: Act
    notes: tuple[str, ...] = ()
    placements: Sequence[PlacementView] = ()


def find_vm(core: Core, identifier: str | int) -> VmRecord:
    """The VM of that id. Raises Refusal."""
    vm = core.world.vms.get(key_of(identifier))
    if vm is None:
        raise Refusal(
            "not_found", f"id is {identifier!r}, and there is no such VM; `vm list` shows all", "id"
        )
    return vm


def own_vm(core: Core, caller: Caller, identifier: str | int) -> VmRecord:
    """The VM of that id, if the caller may change it."""
    vm = find_vm(core, identifier)
    if not caller.owns(vm.owner):
        raise Refusal("forbidden", f"{vm.key} belongs to {vm.owner}; {caller.name} may not change it")
    return vm


def find_host(core: Core, identifier: str | int, field: str = "id") -> str:
    """The name of the host of that name or id. Raises Refusal."""
    name = key_of(identifier)
    if name in core.world.hosts:
        return name
    for record in core.world.hosts.values():
        if record.id == name:
            return record.name
    known = ", ".join(sorted(core.world.hosts)) or "none yet"
    raise Refusal("not_found", f"{field} is {name!r}, and there is no such host; known: {known}", field)


def find_operation(core: Core, number: int) -> OperationRecord:
    """The operation of that number. Raises Refusal."""
    op = core.world.operations.get(number)
    if op is None:
        raise Refusal(
            "not_found",
            f"id is {number}, and there is no such operation; those that ended long ago are not kept",
            "id",
        )
    return op


def own_operation(core: Core, caller: Caller, number: int) -> OperationRecord:
    """The operation of that number, if the caller may change it."""
    op = find_operation(core, number)
    if not caller.owns(op.owner):
        raise Refusal("forbidden", f"operation {op.id} is {op.owner}'s; {caller.name} may not change it")
    return op


async def durable(core: Core, act: Callable[[Context], Any], by: str = "") -> None:
    """Change the world and return once that is on disk; `by` = who asked for it."""
    done = asyncio.get_running_loop().create_future()

    async def then() -> None:
        if not done.done():
            done.set_result(None)

    core.change(act, then, by)
    await done
