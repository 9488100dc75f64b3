"""Taking a domain that was there before into the cluster's care."""

from __future__ import annotations

from hpgreedy.operations.context import Context
from hpgreedy.operations.kinds.base import Kind, passing
from hpgreedy.operations.records import OperationRecord, VmRecord, Waiting
from protocol.commands import Adopt, Adopted, Stamp
from protocol.messages import CommandResult
from protocol.spec import SpecError, decode_spec


def _adopt(ctx: Context, op: OperationRecord) -> OperationRecord:
    meta = ctx.world.meta
    assert op.source is not None
    stamp = Stamp(operation=str(op.id), owner=op.owner, cluster=meta.cluster, site=meta.site)
    return ctx.tell(op, op.source, Adopt(name=str(op.args["name"]), stamp=stamp))


def _adopted(ctx: Context, op: OperationRecord, waiting: Waiting, result: CommandResult) -> OperationRecord:
    name = op.args["name"]
    if not result.ok:
        error = f"{name} was not adopted: {result.error}"
        return passing(ctx, op, result, endless=False) or ctx.goto(op, "failed", error, error=error)
    try:
        adopted = decode_spec(result.data, Adopted, "adopted")
    except SpecError as problem:
        error = f"{name} was not adopted: what its host says of it cannot be read: {problem}"
        return ctx.goto(op, "failed", error, error=error)
    if adopted.spec.key in ctx.world.vms:
        error = f"{name} was not adopted: there is a VM {adopted.spec.key} already"
        return ctx.goto(op, "failed", error, error=error)
    spec = adopted.spec
    assert op.source is not None
    vm = VmRecord(
        spec=spec,
        uuid=adopted.uuid,
        macs=adopted.macs,
        max_cpu=spec.max_cpu or spec.cpu,
        max_memory=int(spec.max_memory or spec.memory),
        owner=op.owner,
        created=ctx.now.wall,
        made_by=op.id,
        host=op.source,
        accelerator=ctx.world.hosts[op.source].hello.accelerator.kind,
        made=True,
        adopted=True,
        desired="running" if adopted.state in ("running", "paused") else "stopped",
        why_here=f"it was on {op.source} when it was adopted",
    )
    ctx.put_vm(vm)
    return ctx.goto(op, "completed", f"{name} on {op.source} is now VM {spec.key}")


KIND = Kind(enter={"adopting": _adopt}, result={"adopting": _adopted})
