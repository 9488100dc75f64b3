"""What every kind of operation consists of, and what several share."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from hpgreedy.operations.context import Context
from hpgreedy.operations.records import OperationRecord, VmRecord, Waiting
from protocol.commands import Args
from protocol.messages import CommandResult
from protocol.spec import encode_spec

Enter = Callable[[Context, OperationRecord], OperationRecord]
OnResult = Callable[[Context, OperationRecord, Waiting, CommandResult], OperationRecord]
OnChild = Callable[[Context, OperationRecord], OperationRecord]
OnCancel = Callable[[Context, OperationRecord], OperationRecord]

TRANSIENT = frozenset({"hypervisor_down", "expired", "stale_epoch", "busy"})
"""Codes of results that say nothing about the action: it is tried again."""
MAX_TRIES = 30
"""Tries of a step whose failure can be undone; steps that must succeed are tried without end."""


class Kind(msgspec.Struct, frozen=True):
    """Handlers by state: on entering it, on a result that it waited for, on the end of a child.

    `child` looks at all children anew, after a restart too. `enter` is also called to take a step up again
    after a restart or a passing failure, so it must ask only for what is idempotent. `cancel` begins to
    bring an operation to its end that somebody does not want any more; while that lasts it is called again
    after a restart and when `Context.look_again` asked for that. States without it are too late.
    """

    enter: Mapping[str, Enter]
    result: Mapping[str, OnResult]
    child: Mapping[str, OnChild] = {}
    cancel: Mapping[str, OnCancel] = {}


def begin(ctx: Context, op: OperationRecord) -> OperationRecord:
    """Do what the operation's state asks for on entering it."""
    from hpgreedy.operations.kinds import TABLE  # noqa: PLC0415 - the table imports this module

    enter = TABLE[op.kind].enter.get(op.state)
    return enter(ctx, op) if enter is not None else op


def proceed(ctx: Context, op: OperationRecord, state: str, note: str = "") -> OperationRecord:
    """Go to a state and begin it."""
    return begin(ctx, ctx.goto(op, state, note))


def fail(ctx: Context, op: OperationRecord, error: str) -> OperationRecord:
    """End an operation as failed and let go of its VM."""
    ctx.release(op)
    return ctx.goto(op, "failed", error, error=error)


def undone(ctx: Context, op: OperationRecord, error: str) -> OperationRecord:
    """End an operation that was taken back and let go of its VM: as cancelled when that was asked for."""
    ctx.release(op)
    return ctx.goto(op, _taken_back(op), error, error=error)


def not_made(ctx: Context, op: OperationRecord, error: str) -> OperationRecord:
    """End the making of a VM of which nothing is left; what was asked for is kept for a retry."""
    spec = encode_spec(vm_of(ctx, op).spec)
    ctx.drop_vm(op.vm_key)
    return ctx.goto(op, _taken_back(op), error, error=error, args={**op.args, "spec": spec})


def _taken_back(op: OperationRecord) -> str:
    return "cancelled" if op.cancelled_by else "failed"


def call_off(ctx: Context, op: OperationRecord) -> OperationRecord:
    """Begin, or go on, to bring an operation to its end that somebody asked to cancel."""
    from hpgreedy.operations.kinds import TABLE  # noqa: PLC0415 - the table imports this module

    handler = TABLE[op.kind].cancel.get(op.state)
    return op if handler is None else handler(ctx, op)


def keep_telling(ctx: Context, op: OperationRecord, host: str, args: Args) -> OperationRecord:
    """Tell a host to break off what an operation waits for, again and again: it may not have begun yet."""
    if any(item.action == args.action for item in op.waiting):
        return op
    return ctx.tell(op, host, args, tag="-abort")


def complete(ctx: Context, op: OperationRecord, note: str = "") -> OperationRecord:
    """End an operation as asked and let go of its VM."""
    ctx.release(op)
    return ctx.goto(op, "completed", note)


def passing(
    ctx: Context, op: OperationRecord, result: CommandResult, endless: bool
) -> OperationRecord | None:
    """Retry after a passing failure; None when the failure is final."""
    if result.ok:
        return None
    if endless or (result.code in TRANSIENT and op.tries < MAX_TRIES):
        return ctx.retry(op, f"tried again: {result.error}")
    return None


def steps_of(ctx: Context, op: OperationRecord) -> list[OperationRecord]:
    """The operation's children, in their order."""
    return [ctx.world.operations[number] for number in op.children]


def vm_of(ctx: Context, op: OperationRecord) -> VmRecord:
    """The VM of an operation; every open operation on a VM keeps its record alive."""
    return ctx.world.vms[op.vm_key]
