"""Making a VM: room, domain, start; and undoing the half of it that failed."""

from __future__ import annotations

import msgspec

from hpgreedy.operations.context import Context
from hpgreedy.operations.kinds.base import Kind, complete, passing, proceed, vm_of
from hpgreedy.operations.records import OperationRecord, Waiting
from protocol.commands import Destroy, Provision, Remove, Start
from protocol.messages import CommandResult


def _provision(ctx: Context, op: OperationRecord) -> OperationRecord:
    meta = ctx.world.meta
    plan = vm_of(ctx, op).plan(meta.cluster, meta.site)
    return ctx.tell(op, _host(op), Provision(plan=plan), ttl=ctx.world.settings.migration_ttl)


def _provisioned(
    ctx: Context, op: OperationRecord, waiting: Waiting, result: CommandResult
) -> OperationRecord:
    if result.ok:
        return proceed(ctx, op, "starting")
    return passing(ctx, op, result, endless=False) or _undo(ctx, op, result)


def _start(ctx: Context, op: OperationRecord) -> OperationRecord:
    return ctx.tell(op, _host(op), Start(uuid=vm_of(ctx, op).uuid))


def _started(ctx: Context, op: OperationRecord, waiting: Waiting, result: CommandResult) -> OperationRecord:
    if not result.ok:
        return passing(ctx, op, result, endless=False) or _undo(ctx, op, result)
    ctx.put_vm(msgspec.structs.replace(vm_of(ctx, op), made=True))
    return complete(ctx, op, f"it runs on {op.target}")


def _undo(ctx: Context, op: OperationRecord, result: CommandResult) -> OperationRecord:
    error = f"{op.vm} could not be made on {op.target}: {result.error}"
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


def _room_made(ctx: Context, op: OperationRecord, child: OperationRecord) -> OperationRecord:
    if not child.ok:
        error = f"no room was made for {op.vm}: operation {child.id} failed: {child.error}"
        ctx.drop_vm(op.vm_key)
        return ctx.goto(op, "failed", error, error=error)
    if any(not ctx.world.operations[number].done for number in op.children):
        return op
    return proceed(ctx, op, "provisioning", "the room has been made")


def _host(op: OperationRecord) -> str:
    assert op.target is not None
    return op.target


KIND = Kind(
    enter={"provisioning": _provision, "starting": _start, "cleaning": _clean},
    result={"provisioning": _provisioned, "starting": _started, "cleaning": _cleaned},
    child={"making_room": _room_made},
)
