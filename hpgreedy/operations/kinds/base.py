"""What every kind of operation consists of, and what several share."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from hpgreedy.operations.context import Context
from hpgreedy.operations.records import OperationRecord, VmRecord, Waiting
from protocol.messages import CommandResult

Enter = Callable[[Context, OperationRecord], OperationRecord]
OnResult = Callable[[Context, OperationRecord, Waiting, CommandResult], OperationRecord]
OnChild = Callable[[Context, OperationRecord], OperationRecord]

TRANSIENT = frozenset({"hypervisor_down", "expired", "stale_epoch", "busy"})
"""Codes of results that say nothing about the action: it is tried again."""
MAX_TRIES = 30
"""Tries of a step whose failure can be undone; steps that must succeed are tried without end."""


class Kind(msgspec.Struct, frozen=True):
    """Handlers by state: on entering it, on a result that it waited for, on the end of a child.

    `child` looks at all children anew, after a restart too. `enter` is also called to take a step up again
    after a restart or a passing failure, so it must ask only for what is idempotent.
    """

    enter: Mapping[str, Enter]
    result: Mapping[str, OnResult]
    child: Mapping[str, OnChild] = {}


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
