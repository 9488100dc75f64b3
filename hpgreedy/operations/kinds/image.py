"""Deleting an image from every host that may have its files."""

from __future__ import annotations

import msgspec

from hpgreedy.operations.context import Context
from hpgreedy.operations.kinds.base import Kind, passing
from hpgreedy.operations.records import OperationRecord, Waiting
from protocol.commands import DeleteImage
from protocol.messages import CommandResult


def _delete(ctx: Context, op: OperationRecord) -> OperationRecord:
    image = ctx.world.images[str(op.args["image"])]
    for host in op.args["hosts"]:
        op = ctx.tell(op, host, DeleteImage(image=image.manifest), tag=f"-{host}")
    return op if op.waiting else _finished(ctx, op)


def _deleted(ctx: Context, op: OperationRecord, waiting: Waiting, result: CommandResult) -> OperationRecord:
    if not result.ok:
        again = passing(ctx, op, result, endless=False)
        if again is not None:
            return again
        name = str(op.args["image"])
        ctx.put_image(msgspec.structs.replace(ctx.world.images[name], operation=None))
        error = f"image {name} could not be deleted on {waiting.host}: {result.error}"
        return ctx.goto(op, "failed", error, error=error)
    return op if op.waiting else _finished(ctx, op)


def _finished(ctx: Context, op: OperationRecord) -> OperationRecord:
    ctx.drop_image(str(op.args["image"]))
    return ctx.goto(op, "completed", f"deleted on {len(op.args['hosts'])} host(s)")


KIND = Kind(enter={"deleting": _delete}, result={"deleting": _deleted})
