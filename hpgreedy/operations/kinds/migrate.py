"""Live migration: prepared, executed by libvirt peer to peer, and decided by where the domain runs then."""

from __future__ import annotations

import enum

import msgspec

from hpgreedy.model import HostState
from hpgreedy.operations.capacity import ends_of
from hpgreedy.operations.context import Context
from hpgreedy.operations.kinds.base import (
    MAX_TRIES,
    Kind,
    complete,
    fail,
    keep_telling,
    passing,
    proceed,
    undone,
    vm_of,
)
from hpgreedy.operations.kinds.recheck import WAITED_FOR, broken_rule
from hpgreedy.operations.records import OperationRecord, Waiting
from protocol.commands import (
    AbortMigration,
    Destroy,
    FinishIncoming,
    Inspect,
    Inspected,
    Migrate,
    PrepareIncoming,
    Remove,
)
from protocol.messages import CommandResult
from protocol.spec import SpecError, decode_spec, encode_spec

LOUD_AFTER = 15
"""Looks at a domain that stands at both ends before an operator is told."""
ABORT_AGAIN = 3.0
"""Seconds after which a migration that goes on is aborted once more: it may only just have begun."""


NOTHING_TO_FINISH = ("not_found", "refused", "bad_arguments")
"""Answers of a target where the VM has stopped since, or of an agent that knows no such command."""
OPEN_FOR = 2
"""Times `migration_ttl` that the target's ports stay open: it may begin that late and take as long."""


class Verdict(enum.StrEnum):
    """Where a domain turned out to be."""

    FOLLOW = "a migration job is still running"
    AT_TARGET = "only at the target"
    AT_SOURCE = "only at the source"
    BOTH = "running at both"
    HAND_OVER = "standing still in the moment of hand-over"
    STOPPED_AT_SOURCE = "stopped at the source"
    NOWHERE = "nowhere"


def verdict(source: Inspected, target: Inspected, held: bool = False) -> Verdict:
    """Decide from what both hosts' libvirt show now, never from what a call returned.

    One that was `held` stands still at the target when all of it has arrived, until the source's is gone.
    """
    if source.job:
        return Verdict.FOLLOW
    if target.state == "running":
        return Verdict.BOTH if source.state == "running" else Verdict.AT_TARGET
    if source.state == "running":
        return Verdict.AT_SOURCE
    waits = held and target.state == "paused" and source.handed_over
    if target.present and target.persistent and (waits or not source.present):
        return Verdict.AT_TARGET
    if source.state in ("paused", "outgoing") or target.state in ("paused", "incoming"):
        return Verdict.HAND_OVER
    return Verdict.STOPPED_AT_SOURCE if source.present else Verdict.NOWHERE


def _prepare(ctx: Context, op: OperationRecord) -> OperationRecord:
    meta, vm = ctx.world.meta, vm_of(ctx, op)
    problem = None if op.attempt else _cannot(ctx, op)
    if problem is not None:
        return _not_yet(ctx, op) or fail(
            ctx, op, f"{op.vm} was not moved and stays on {op.source}: {problem}"
        )
    plan = vm.plan(meta.cluster, meta.site, ends_of(op)[_target(op)])
    storage = tuple(sorted(ctx.world.storage_ids(_source(op))))
    source = ctx.world.hosts[_source(op)].hello
    order = PrepareIncoming(
        plan=plan,
        copy=_copies(op),
        source_storage=storage,
        source_addresses=source.addresses,
        open_until=ctx.now.wall + OPEN_FOR * ctx.world.settings.migration_ttl,
    )
    return ctx.tell(op, _target(op), order, ttl=ctx.world.settings.migration_ttl)


def _prepared(ctx: Context, op: OperationRecord, waiting: Waiting, result: CommandResult) -> OperationRecord:
    if not result.ok:
        return passing(ctx, op, result, endless=False) or _roll_back(
            ctx, op, f"{op.vm} stays on {op.source}: {op.target} could not be made ready: {result.error}"
        )
    problem = _cannot(ctx, op)
    if problem is None:
        return proceed(ctx, op, "execution")
    return _not_yet(ctx, op) or _roll_back(ctx, op, f"{op.vm} stays on {op.source}: {problem}")


def _cannot(ctx: Context, op: OperationRecord) -> str | None:
    """Why the domain cannot be moved now, though it could when that was decided."""
    vm = vm_of(ctx, op)
    if op.parent is not None and vm.spec.pinned:
        return "it is pinned"
    if not ctx.world.runs(vm):
        return f"it does not run on {op.source} any more"
    state, problem = ctx.world.host_state(_target(op), ctx.now)
    if state is not HostState.UP:
        return f"{op.target} takes no VM any more: {problem}"
    return broken_rule(ctx, vm, _target(op))


def _not_yet(ctx: Context, op: OperationRecord) -> OperationRecord | None:
    """Hosts that are not heard, as after a restart of the coordinator, are waited for."""
    for host in (_source(op), _target(op)):
        state, problem = ctx.world.host_state(host, ctx.now)
        silent = ctx.world.live_of(host).report is None
        if (silent or state in WAITED_FOR) and op.tries < MAX_TRIES:
            return ctx.retry(op, f"waits for {host}: {problem or 'it has not reported yet'}")
    return None


def _execute(ctx: Context, op: OperationRecord) -> OperationRecord:
    vm, target = vm_of(ctx, op), ctx.world.hosts[_target(op)].hello
    nodes = ends_of(op)[_target(op)]
    held = _copies(op) or not all(_locks(ctx, host) for host in (_source(op), _target(op)))
    op = ctx.put_operation(msgspec.structs.replace(op, args={**op.args, "held": held}))
    order = Migrate(
        uuid=vm.uuid,
        target_uri=target.migrate_uri,
        target_address=target.address,
        copy=_copies(op),
        max_downtime_ms=vm.spec.max_downtime,
        bandwidth_mib=int(op.args.get("bandwidth", 0)),
        hold=held,
        numa=tuple(fact for fact in target.numa if fact.node in nodes),
    )
    return ctx.tell(op, _source(op), order, ttl=ctx.world.settings.migration_ttl)


def _executed(ctx: Context, op: OperationRecord, waiting: Waiting, result: CommandResult) -> OperationRecord:
    if waiting.action == AbortMigration.action:
        op = op if result.ok else ctx.note(op, f"{waiting.host} could not abort it: {result.error}")
        ctx.look_again(op, ABORT_AGAIN)
    else:
        said = "libvirt says it is done" if result.ok else f"libvirt says: {result.error}"
        outcome = dict(result.data) if result.ok else op.outcome
        op = ctx.note(op, said, outcome=outcome, error="" if result.ok else result.error)
    if op.waiting:
        # An abort that is still on its way must not meet a later migration.
        return op
    return proceed(ctx, op, "verification", "asking both hosts where it runs")


def _verify(ctx: Context, op: OperationRecord) -> OperationRecord:
    uuid = vm_of(ctx, op).uuid
    op = ctx.put_operation(msgspec.structs.replace(op, args={**op.args, "seen": {}}))
    op = ctx.tell(op, _source(op), Inspect(uuid=uuid), tag="-source")
    return ctx.tell(op, _target(op), Inspect(uuid=uuid), tag="-target")


def _seen(ctx: Context, op: OperationRecord, waiting: Waiting, result: CommandResult) -> OperationRecord:
    if waiting.action == AbortMigration.action:
        return ctx.retry(op, "its migration is being aborted: looking again", delay=1.0)
    if not result.ok:
        return ctx.retry(op, f"{waiting.host} could not say where it runs: {result.error}")
    try:
        found = decode_spec(result.data, Inspected, "inspected")
    except SpecError as problem:
        return ctx.retry(op, f"{waiting.host} answered what cannot be read: {problem}")
    role = "source" if waiting.host == op.source else "target"
    seen = {**op.args["seen"], role: encode_spec(found)}
    op = ctx.put_operation(msgspec.structs.replace(op, args={**op.args, "seen": seen}))
    if op.waiting:
        return op
    source = decode_spec(seen["source"], Inspected)
    target = decode_spec(seen["target"], Inspected)
    return _decide(ctx, op, verdict(source, target, _held(op)))


def _decide(ctx: Context, op: OperationRecord, found: Verdict) -> OperationRecord:
    if found is Verdict.FOLLOW:
        # To follow it would start it anew if it has just ended.
        return (
            _abort(ctx, op)
            if op.cancelled_by
            else proceed(ctx, op, "execution", "its migration is still running: following it")
        )
    if found is Verdict.BOTH:
        ctx.alarm(
            f"{op.vm} runs at both {op.source} and {op.target}: its copy at {op.source} is stopped at once"
        )
    if found in (Verdict.AT_TARGET, Verdict.BOTH):
        why = f"live migration {op.id} from {op.source}" + (f": {op.why}" if op.why else "")
        nodes = ends_of(op)[_target(op)]
        moved = msgspec.structs.replace(
            vm_of(ctx, op), host=op.target, numa_nodes=nodes, why_here=why, runner_up=None, problem=""
        )
        ctx.put_vm(moved)
        return proceed(ctx, op, "finishing", f"it is {found.value}")
    if found is Verdict.HAND_OVER:
        if op.tries == LOUD_AFTER:
            ctx.alarm(
                f"{op.vm} stands still between {op.source} and {op.target}; both hosts are asked on. If it "
                f"is paused at {op.source} for another reason, `virsh resume` there lets this end"
            )
        return ctx.retry(op, f"it is {found.value}: looking again", delay=1.0)
    if found is Verdict.NOWHERE:
        return _lost(ctx, op)
    stays = "it goes on there" if found is Verdict.AT_SOURCE else "it was stopped by this"
    if op.cancelled_by:
        return _roll_back(ctx, op, f"{op.cancelled_by} cancelled it; {op.vm} is at {op.source}, {stays}")
    cause = op.error or "libvirt ended the migration without a reason"
    return _roll_back(ctx, op, f"{cause}; {op.vm} is at {op.source}, {stays}")


def _lost(ctx: Context, op: OperationRecord) -> OperationRecord:
    error = (
        f"{op.vm} runs neither at {op.source} nor at {op.target} and is defined at neither; "
        "nothing was started in its place: look at both hosts' QEMU logs before you delete or recreate it"
    )
    ctx.alarm(error)
    ctx.put_vm(msgspec.structs.replace(vm_of(ctx, op), problem=error))
    return fail(ctx, op, error)


def _roll_back(ctx: Context, op: OperationRecord, error: str) -> OperationRecord:
    return proceed(ctx, ctx.note(op, error, error=error), "rolling_back", error)


def _abort(ctx: Context, op: OperationRecord) -> OperationRecord:
    return keep_telling(ctx, op, _source(op), AbortMigration(uuid=vm_of(ctx, op).uuid))


def _stop_preparing(ctx: Context, op: OperationRecord) -> OperationRecord:
    error = f"{op.cancelled_by} cancelled it before it began; {op.vm} stays on {op.source}"
    return _roll_back(ctx, op, error) if op.attempt else undone(ctx, op, error)


def _clear_source(ctx: Context, op: OperationRecord) -> OperationRecord:
    return ctx.tell(op, _source(op), Destroy(uuid=vm_of(ctx, op).uuid), tag="-stop")


def _clear_target(ctx: Context, op: OperationRecord) -> OperationRecord:
    if any(step.state == "execution" for step in op.history):
        order = Destroy(uuid=vm_of(ctx, op).uuid, unless_running=True)
        return ctx.tell(op, _target(op), order, tag="-stop")
    # Nothing was sent there yet, so a domain that runs there is not this migration's to stop.
    return ctx.tell(op, _target(op), Remove(uuid=vm_of(ctx, op).uuid, disks=_copies(op)))


def _cleared(ctx: Context, op: OperationRecord, waiting: Waiting, result: CommandResult) -> OperationRecord:
    if result.code == "refused" and op.state == "rolling_back" and waiting.action == Destroy.action:
        return proceed(ctx, op, "verification", f"{waiting.host} says that it runs there after all")
    if result.code == "refused" and op.state == "rolling_back":
        ctx.alarm(f"{waiting.host} kept what it has of {op.vm}: {result.error}")
        return undone(ctx, op, f"{op.error}; {waiting.host} kept what it has of it: {result.error}")
    if not result.ok and result.code != "not_found":
        return ctx.retry(op, f"tried again: {result.error}")
    if waiting.action == Destroy.action:
        return ctx.tell(op, waiting.host, Remove(uuid=vm_of(ctx, op).uuid, disks=_copies(op)))
    if op.state == "finishing":
        order = FinishIncoming(uuid=vm_of(ctx, op).uuid, resume=_held(op))
        return ctx.tell(op, _target(op), order, tag="-end")
    return undone(ctx, op, op.error)


def _finished(ctx: Context, op: OperationRecord, waiting: Waiting, result: CommandResult) -> OperationRecord:
    if waiting.action != FinishIncoming.action:
        return _cleared(ctx, op, waiting, result)
    if not result.ok and result.code not in NOTHING_TO_FINISH:
        return ctx.retry(op, f"tried again: {result.error}")
    late = "it had moved before it could be cancelled: " if op.cancelled_by else ""
    return complete(ctx, msgspec.structs.replace(op, error=""), f"{late}it runs on {op.target}")


def _copies(op: OperationRecord) -> bool:
    return bool(op.args.get("copy", False))


def _held(op: OperationRecord) -> bool:
    return bool(op.args.get("held", False))


def _locks(ctx: Context, host: str) -> bool:
    """Whether libvirt on that host refuses to run a VM that runs elsewhere."""
    return ctx.world.hosts[host].hello.guards.get("locks") == "on"


def _source(op: OperationRecord) -> str:
    assert op.source is not None
    return op.source


def _target(op: OperationRecord) -> str:
    assert op.target is not None
    return op.target


KIND = Kind(
    enter={
        "preparation": _prepare,
        "execution": _execute,
        "verification": _verify,
        "finishing": _clear_source,
        "rolling_back": _clear_target,
    },
    result={
        "preparation": _prepared,
        "execution": _executed,
        "verification": _seen,
        "finishing": _finished,
        "rolling_back": _cleared,
    },
    cancel={"pending": _stop_preparing, "preparation": _stop_preparing, "execution": _abort},
)
