"""Asking once more for what an operation did not bring about."""

from __future__ import annotations

from collections.abc import Callable

from hpgreedy.operations import requests
from hpgreedy.operations.context import Context, Refusal
from hpgreedy.operations.records import OperationRecord, VmRecord
from protocol.spec import VmSpec, decode_spec

ROLES: dict[str, str] = {
    "create": "user",
    "delete": "user",
    "start": "user",
    "stop": "user",
    "migrate": "operator",
    "adopt": "operator",
    "delete_image": "operator",
}
"""The least role that may ask for each kind of operation."""


def retry(ctx: Context, by: str, op: OperationRecord, mint_uuid: Callable[[], str]) -> OperationRecord:
    """Begin a new operation with the request of one that failed or was cancelled, on behalf of its owner.

    Everything is decided anew. Refusal says why not; then nothing has changed.
    """
    _refuse_senseless(op)
    new = _AGAIN[op.kind](ctx, op, mint_uuid)
    note = f"{by} asked again for what operation {op.id} did not bring about"
    return ctx.note(ctx.world.operations[new.id], note, retry_of=op.id)


def vm_to_retry(ctx_vms: dict[str, VmRecord], op: OperationRecord) -> VmRecord:
    """The VM that an operation was about. Raises Refusal when it is gone, or another one has its id."""
    vm = ctx_vms.get(op.vm_key)
    if vm is None:
        raise Refusal("not_found", f"operation {op.id} was about {op.vm_key}, and that VM is gone", "id")
    if vm.created > op.created:
        raise Refusal(
            "refused", f"{op.vm_key} was made after operation {op.id}: it is another VM of the same id", "id"
        )
    return vm


def _refuse_senseless(op: OperationRecord) -> None:
    what = f"operation {op.id} ({op.kind})"
    if not op.done:
        raise Refusal("busy", f"{what} has not ended: it is {op.state}; wait for it or cancel it", "id")
    if op.ok:
        raise Refusal("refused", f"{what} ended as asked; there is nothing to do again", "id")
    if op.parent is not None:
        raise Refusal("refused", f"{what} was a part of operation {op.parent}; retry that one", "id")


def _create(ctx: Context, op: OperationRecord, mint_uuid: Callable[[], str]) -> OperationRecord:
    if "spec" not in op.args:
        raise Refusal("refused", f"what operation {op.id} was to make was not kept; submit it again", "id")
    spec = decode_spec(op.args["spec"], VmSpec, "spec")
    return requests.submit(ctx, op.owner, (spec,), str(op.args["algorithm"]), mint_uuid)[0]


def _migrate(ctx: Context, op: OperationRecord, mint_uuid: Callable[[], str]) -> OperationRecord:
    to, bandwidth = op.args.get("to"), int(op.args.get("bandwidth", 0))
    return requests.migrate(ctx, op.owner, vm_to_retry(ctx.world.vms, op), to=to, bandwidth=bandwidth)


def _on_vm(ctx: Context, op: OperationRecord, mint_uuid: Callable[[], str]) -> OperationRecord:
    vm = vm_to_retry(ctx.world.vms, op)
    return requests.on_vm(ctx, op.kind, op.history[0].state, op.owner, vm, **op.args)


def _adopt(ctx: Context, op: OperationRecord, mint_uuid: Callable[[], str]) -> OperationRecord:
    host = str(op.source)
    if host not in ctx.world.hosts:
        raise Refusal("not_found", f"host {host} of operation {op.id} is not registered any more", "id")
    return requests.adopt(ctx, op.owner, host, str(op.args["name"]))


def _delete_image(ctx: Context, op: OperationRecord, mint_uuid: Callable[[], str]) -> OperationRecord:
    return requests.delete_image(ctx, op.owner, str(op.args["image"]))


Again = Callable[[Context, OperationRecord, Callable[[], str]], OperationRecord]
_AGAIN: dict[str, Again] = {
    "create": _create,
    "delete": _on_vm,
    "start": _on_vm,
    "stop": _on_vm,
    "migrate": _migrate,
    "adopt": _adopt,
    "delete_image": _delete_image,
}
__all__ = ["ROLES", "retry", "vm_to_retry"]
