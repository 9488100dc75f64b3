"""Making a VM: room, domain, start; and undoing the half of it that failed."""

from __future__ import annotations

import msgspec

from hpgreedy.operations.context import Context
from hpgreedy.operations.kinds.base import Kind, complete, fail, passing, proceed, steps_of, vm_of
from hpgreedy.operations.kinds.recheck import broken_rule
from hpgreedy.operations.records import OperationRecord, Waiting
from protocol.commands import Destroy, Provision, Remove, Start
from protocol.messages import CommandResult


def _provision(ctx: Context, op: OperationRecord) -> OperationRecord:
    meta, vm = ctx.world.meta, vm_of(ctx, op)
    problem = broken_rule(ctx, vm, _host(op))
    if problem is not None and op.attempt:
        return _undo(ctx, op, problem)
    if problem is not None:
        error = f"{op.vm} was not made on {op.target}: {problem}"
        ctx.drop_vm(op.vm_key)
        return ctx.goto(op, "failed", error, error=error)
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
    error = f"{op.vm} could not be made on {op.target}: {problem}"
    return proceed(ctx, ctx.note(op, error, error=error), "cleaning", error)


def _clean(ctx: Context, op: OperationRecord) -> OperationRecord:
    return ctx.tell(op, _host(op), Destroy(uuid=vm_of(ctx, op).uuid), tag="-stop")


def _cleaned(ctx: Context, op: OperationRecord, waiting: Waiting, result: CommandResult) -> OperationRecord:
    if not result.ok and result.code != "not_found":
        return ctx.retry(op, f"tried again: {result.error}")
    if waiting.action == Destroy.action:
        return ctx.tell(op, _host(op), Remove(uuid=vm_of(ctx, op).uuid, disks=True))
    ctx.drop_vm(op.vm_key)
    return ctx.goto(op, "failed", f"{op.error}; nothing of it is left", error=op.error)


def _make_room(ctx: Context, op: OperationRecord) -> OperationRecord:
    """Its moves one after the other, then the VM itself; the first that fails ends it."""
    steps = steps_of(ctx, op)
    failed = next((step for step in steps if step.done and not step.ok), None)
    if failed is not None:
        return _no_room(ctx, op, failed, steps)
    under_way = next((step for step in steps if not step.done), None)
    if under_way is None:
        return proceed(ctx, op, "provisioning", "the room has been made")
    if under_way.state == "pending":
        proceed(ctx, under_way, "preparation", "its turn has come")
    return op


def _no_room(
    ctx: Context, op: OperationRecord, failed: OperationRecord, steps: list[OperationRecord]
) -> OperationRecord:
    told = [
        f"no room was made for {op.vm}: operation {failed.id}, which was to move {failed.vm} from "
        f"{failed.source} to {failed.target}, failed: {failed.error}"
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
            f"not begun, since operation {failed.id} failed before it; {step.vm} stays on {step.source}",
        )
    told += [f"{step.vm} was not moved and stays on {step.source}" for step in left]
    ctx.drop_vm(op.vm_key)
    error = "; ".join(told)
    return ctx.goto(op, "failed", error, error=error)


def _host(op: OperationRecord) -> str:
    assert op.target is not None
    return op.target


KIND = Kind(
    enter={"provisioning": _provision, "starting": _start, "cleaning": _clean},
    result={"provisioning": _provisioned, "starting": _started, "cleaning": _cleaned},
    child={"making_room": _make_room},
)
