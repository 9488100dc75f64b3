"""Deleting a VM with its disks."""

from __future__ import annotations

import msgspec

from hpgreedy.operations.context import Context
from hpgreedy.operations.kinds.base import Kind, complete, fail, keep_telling, passing, proceed, undone, vm_of
from hpgreedy.operations.records import OperationRecord, Waiting
from protocol.commands import AbortShutdown, Destroy, Remove, Shutdown
from protocol.messages import CommandResult

SLACK = 30.0
"""Seconds that a command may take beyond the guest's own grace."""
TELL_AGAIN = 3.0
"""Seconds after which a host that goes on is told once more to break off."""


def shut_down(ctx: Context, op: OperationRecord) -> OperationRecord:
    """Ask the guest of an operation to stop, as long as its `grace` says."""
    vm = vm_of(ctx, op)
    assert vm.host is not None
    grace = float(op.args.get("grace", 60.0))
    order = Shutdown(uuid=vm.uuid, grace=grace, force=bool(op.args.get("force", False)))
    return ctx.tell(op, vm.host, order, ttl=ctx.world.settings.command_ttl + grace + SLACK)


def stop_shutting_down(ctx: Context, op: OperationRecord) -> OperationRecord:
    """Have the host wait no longer for the guest, and not switch it off."""
    vm = vm_of(ctx, op)
    assert vm.host is not None
    if not op.waiting:
        return undone(ctx, op, _goes_on(op))
    return keep_telling(ctx, op, vm.host, AbortShutdown(uuid=vm.uuid))


def not_waited_for(
    ctx: Context, op: OperationRecord, waiting: Waiting, result: CommandResult
) -> OperationRecord | None:
    """What a result means to a shutdown that somebody has cancelled; None = the guest has shut down, or
    nobody has cancelled it.
    """
    if waiting.action == AbortShutdown.action:
        if not result.ok:
            op = ctx.note(op, f"{waiting.host} could not break off: {result.error}")
        return ctx.look_again(op, TELL_AGAIN)
    if result.ok or not op.cancelled_by:
        return None
    why = "" if result.code in ("aborted", "timeout") else f" ({result.error})"
    return undone(ctx, op, f"{_goes_on(op)}{why}")


def _goes_on(op: OperationRecord) -> str:
    return (
        f"{op.cancelled_by} cancelled it; {op.vm} was not stopped, but its guest may have been asked to shut "
        "down and may still do so"
    )


def _destroy(ctx: Context, op: OperationRecord) -> OperationRecord:
    vm = vm_of(ctx, op)
    assert vm.host is not None
    return ctx.tell(op, vm.host, Destroy(uuid=vm.uuid))


def _remove(ctx: Context, op: OperationRecord) -> OperationRecord:
    vm = vm_of(ctx, op)
    assert vm.host is not None
    return ctx.tell(op, vm.host, Remove(uuid=vm.uuid, disks=True))


def _stopped(ctx: Context, op: OperationRecord, waiting: Waiting, result: CommandResult) -> OperationRecord:
    broken_off = not_waited_for(ctx, op, waiting, result)
    if broken_off is not None:
        return broken_off
    if result.ok or result.code == "not_found":
        ctx.put_vm(msgspec.structs.replace(vm_of(ctx, op), desired="stopped"))
        if op.cancelled_by:
            return undone(
                ctx,
                op,
                f"{op.cancelled_by} cancelled it when the guest had shut down already: {op.vm} is stopped "
                f"and stays defined on {op.source}; `vm start {op.vm}` starts it",
            )
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
    cancel={"shutting_down": stop_shutting_down},
)
