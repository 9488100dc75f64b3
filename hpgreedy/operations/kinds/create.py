"""Making a VM: room, domain, start; and undoing the half of it that failed."""

from __future__ import annotations

import msgspec

from hpgreedy.operations.context import Context
from hpgreedy.operations.kinds.base import (
    Kind,
    call_off,
    complete,
    fail,
    not_made,
    passing,
    proceed,
    steps_of,
    vm_of,
)
from hpgreedy.operations.kinds.recheck import broken_rule
from hpgreedy.operations.records import OperationRecord, Waiting
from protocol.commands import Destroy, Provision, Remove, Start
from protocol.messages import CommandResult

_ENDED = {"failed": "failed", "cancelled": "was cancelled"}


def _provision(ctx: Context, op: OperationRecord) -> OperationRecord:
    meta, vm = ctx.world.meta, vm_of(ctx, op)
    problem = broken_rule(ctx, vm, _host(op))
    if problem is not None and op.attempt:
        return _undo(ctx, op, problem)
    if problem is not None:
        return not_made(ctx, op, f"{op.vm} was not made on {op.target}: {problem}")
    order = Provision(plan=vm.plan(meta.cluster, meta.site))
    return ctx.tell(op, _host(op), order, ttl=ctx.world.settings.migration_ttl)


def _provisioned(
    ctx: Context, op: OperationRecord, waiting: Waiting, result: CommandResult
) -> OperationRecord:
    if not result.ok:
        return passing(ctx, op, result, endless=False) or _undo(ctx, op, result.error)
    problem = broken_rule(ctx, vm_of(ctx, op), _host(op))
    return proceed(ctx, op, "starting") if problem is None else _undo(ctx, op, problem)


def _start(ctx: Context, op: OperationRecord) -> OperationRecord:
    return ctx.tell(op, _host(op), Start(uuid=vm_of(ctx, op).uuid))


def _started(ctx: Context, op: OperationRecord, waiting: Waiting, result: CommandResult) -> OperationRecord:
    if not result.ok:
        return passing(ctx, op, result, endless=False) or _undo(ctx, op, result.error)
    ctx.put_vm(msgspec.structs.replace(vm_of(ctx, op), made=True))
    return complete(ctx, op, f"it runs on {op.target}")


def _undo(ctx: Context, op: OperationRecord, problem: str) -> OperationRecord:
    return _clear_away(ctx, op, f"{op.vm} could not be made on {op.target}: {problem}")


def _clear_away(ctx: Context, op: OperationRecord, error: str) -> OperationRecord:
    return proceed(ctx, ctx.note(op, error, error=error), "cleaning", error)


def _clean(ctx: Context, op: OperationRecord) -> OperationRecord:
    return ctx.tell(op, _host(op), Destroy(uuid=vm_of(ctx, op).uuid), tag="-stop")


def _cleaned(ctx: Context, op: OperationRecord, waiting: Waiting, result: CommandResult) -> OperationRecord:
    if not result.ok and result.code != "not_found":
        return ctx.retry(op, f"tried again: {result.error}")
    if waiting.action == Destroy.action:
        return ctx.tell(op, _host(op), Remove(uuid=vm_of(ctx, op).uuid, disks=True))
    return not_made(ctx, ctx.note(op, f"nothing of it is left on {op.target}"), op.error)


def _leave_queue(ctx: Context, op: OperationRecord) -> OperationRecord:
    return not_made(
        ctx, op, f"{op.cancelled_by} cancelled it while {op.vm} waited for a host; nothing had been made"
    )


def _stop_making(ctx: Context, op: OperationRecord) -> OperationRecord:
    return _clear_away(
        ctx,
        op,
        f"{op.cancelled_by} cancelled it before {op.vm} was started on {op.target}; nothing of it is kept",
    )


def _stop_making_room(ctx: Context, op: OperationRecord) -> OperationRecord:
    """Moves that have not begun are dropped; the one under way is called off, or ends first."""
    for step in reversed(steps_of(ctx, op)):
        if not step.done and not step.cancelled_by:
            call_off(ctx, ctx.note(step, f"operation {op.id} was cancelled", cancelled_by=op.cancelled_by))
    return _make_room(ctx, ctx.world.operations[op.id])


def _make_room(ctx: Context, op: OperationRecord) -> OperationRecord:
    """Its moves one after the other, then the VM itself; the first that fails ends it."""
    steps = steps_of(ctx, op)
    if op.cancelled_by:
        return op if any(not step.done for step in steps) else _called_off(ctx, op, steps)
    failed = next((step for step in steps if step.done and not step.ok), None)
    if any(not step.done and step.state != "pending" for step in steps):
        return op
    if failed is not None:
        return _no_room(ctx, op, failed, steps)
    following = next((step for step in steps if not step.done), None)
    if following is None:
        return proceed(ctx, op, "provisioning", "the room has been made")
    proceed(ctx, following, "preparation", "its turn has come")
    return op


def _called_off(ctx: Context, op: OperationRecord, steps: list[OperationRecord]) -> OperationRecord:
    told = [f"{op.cancelled_by} cancelled it before room was made for {op.vm}; nothing of it had been made"]
    told += [f"{step.vm} is on {step.target} now and stays there" for step in steps if step.ok]
    told += [step.error for step in steps if not step.ok]
    return not_made(ctx, op, "; ".join(told))


def _no_room(
    ctx: Context, op: OperationRecord, failed: OperationRecord, steps: list[OperationRecord]
) -> OperationRecord:
    told = [
        f"no room was made for {op.vm}: operation {failed.id}, which was to move {failed.vm} from "
        f"{failed.source} to {failed.target}, {_ENDED[failed.state]}: {failed.error}"
    ]
    vm = ctx.world.vms.get(failed.vm_key)
    if vm is not None and not vm.problem and f"stays on {vm.host}" not in failed.error:
        told.append(f"{failed.vm} stays on {vm.host}")
    told += [f"{step.vm} is on {step.target} now and stays there" for step in steps if step.ok]
    left = [step for step in steps if not step.done]
    for step in left:
        fail(
            ctx,
            step,
            f"not begun, since operation {failed.id} {_ENDED[failed.state]} before it; {step.vm} stays on "
            f"{step.source}",
        )
    told += [f"{step.vm} was not moved and stays on {step.source}" for step in left]
    return not_made(ctx, op, "; ".join(told))


def _host(op: OperationRecord) -> str:
    assert op.target is not None
    return op.target


KIND = Kind(
    enter={"provisioning": _provision, "starting": _start, "cleaning": _clean},
    result={"provisioning": _provisioned, "starting": _started, "cleaning": _cleaned},
    child={"making_room": _make_room},
    cancel={"waiting": _leave_queue, "making_room": _stop_making_room, "provisioning": _stop_making},
)
