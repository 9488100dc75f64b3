"""Deleting a VM with its disks."""

from __future__ import annotations

import msgspec

from hpgreedy.operations.context import Context
from hpgreedy.operations.kinds.base import Kind, complete, fail, passing, proceed, vm_of
from hpgreedy.operations.records import OperationRecord, Waiting
from protocol.commands import Destroy, Remove, Shutdown
from protocol.messages import CommandResult

SLACK = 30.0
"""Seconds that a command may take beyond the guest's own grace."""


def shut_down(ctx: Context, op: OperationRecord) -> OperationRecord:
    """Ask the guest of an operation to stop, as long as its `grace` says."""
    vm = vm_of(ctx, op)
    assert vm.host is not None
    grace = float(op.args.get("grace", 60.0))
    order = Shutdown(uuid=vm.uuid, grace=grace, force=bool(op.args.get("force", False)))
    return ctx.tell(op, vm.host, order, ttl=ctx.world.settings.command_ttl + grace + SLACK)


def _destroy(ctx: Context, op: OperationRecord) -> OperationRecord:
    vm = vm_of(ctx, op)
    assert vm.host is not None
    return ctx.tell(op, vm.host, Destroy(uuid=vm.uuid))


def _remove(ctx: Context, op: OperationRecord) -> OperationRecord:
    vm = vm_of(ctx, op)
    assert vm.host is not None
    return ctx.tell(op, vm.host, Remove(uuid=vm.uuid, disks=True))


def _stopped(ctx: Context, op: OperationRecord, waiting: Waiting, result: CommandResult) -> OperationRecord:
    if result.ok or result.code == "not_found":
        ctx.put_vm(msgspec.structs.replace(vm_of(ctx, op), desired="stopped"))
        return proceed(ctx, op, "removing")
    return passing(ctx, op, result, endless=False) or fail(
        ctx, op, f"{op.vm} was not deleted: {result.error}"
    )


def _removed(ctx: Context, op: OperationRecord, waiting: Waiting, result: CommandResult) -> OperationRecord:
    if result.ok:
        files = result.data.get("files", [])
        op = complete(ctx, op, f"removed with {len(files)} file(s)")
        ctx.drop_vm(op.vm_key)
        return op
    return passing(ctx, op, result, endless=False) or fail(
        ctx, op, f"{op.vm} is stopped, but could not be removed from {op.source}: {result.error}"
    )


KIND = Kind(
    enter={"shutting_down": shut_down, "destroying": _destroy, "removing": _remove},
    result={"shutting_down": _stopped, "destroying": _stopped, "removing": _removed},
)
