"""Starting a stopped VM, stopping a running one."""

from __future__ import annotations

import msgspec

from hpgreedy.operations.context import Context
from hpgreedy.operations.kinds.base import Kind, complete, fail, passing, vm_of
from hpgreedy.operations.kinds.delete import not_waited_for, shut_down, stop_shutting_down
from hpgreedy.operations.kinds.recheck import broken_place
from hpgreedy.operations.records import OperationRecord, Waiting
from protocol.commands import Start
from protocol.messages import CommandResult


def _start(ctx: Context, op: OperationRecord) -> OperationRecord:
    vm = vm_of(ctx, op)
    assert vm.host is not None
    problem = broken_place(ctx, vm, vm.host)
    if problem is not None:
        return fail(ctx, op, f"{op.vm} was not started and stays stopped on {vm.host}: {problem}")
    return ctx.tell(op, vm.host, Start(uuid=vm.uuid))


def _started(ctx: Context, op: OperationRecord, waiting: Waiting, result: CommandResult) -> OperationRecord:
    if result.ok:
        ctx.put_vm(msgspec.structs.replace(vm_of(ctx, op), desired="running", problem=""))
        return complete(ctx, op, f"it runs on {op.source}")
    return passing(ctx, op, result, endless=False) or fail(
        ctx, op, f"{op.vm} was not started: {result.error}"
    )


def _stopped(ctx: Context, op: OperationRecord, waiting: Waiting, result: CommandResult) -> OperationRecord:
    broken_off = not_waited_for(ctx, op, waiting, result)
    if broken_off is not None:
        return broken_off
    if result.ok:
        ctx.put_vm(msgspec.structs.replace(vm_of(ctx, op), desired="stopped", problem=""))
        late = "it had stopped before it could be cancelled: " if op.cancelled_by else ""
        return complete(ctx, op, f"{late}it is stopped and stays defined")
    return passing(ctx, op, result, endless=False) or fail(
        ctx, op, f"{op.vm} was not stopped: {result.error}"
    )


START = Kind(enter={"starting": _start}, result={"starting": _started})
STOP = Kind(
    enter={"shutting_down": shut_down},
    result={"shutting_down": _stopped},
    cancel={"shutting_down": stop_shutting_down},
)
