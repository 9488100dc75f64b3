"""Requests become operations: validated against the world first, then accepted whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from hpgreedy.model import HostState
from hpgreedy.operations.context import Context, Refusal
from hpgreedy.operations.inventory import foreign
from hpgreedy.operations.kinds import TABLE
from hpgreedy.operations.kinds.base import begin, call_off, proceed
from hpgreedy.operations.places import Planned, details_of, must_copy, plan
from hpgreedy.operations.queue import join_queue, waits, withdraw
from hpgreedy.operations.records import OperationRecord, VmRecord
from hpgreedy.operations.transitions import TOO_LATE
from hpgreedy.operations.vms import at_home, new_vm, users_of
from hpgreedy.placement import Move, NotPlaced, Placed, Placer, known
from hpgreedy.placement.restart import Admission, sentences
from protocol.spec import VmSpec

MAX_OPEN = 10_000
MIGRATION_ALGORITHM = "best_fit"


def submit(
    ctx: Context,
    owner: str,
    specs: Sequence[VmSpec],
    algorithm: str,
    mint_uuid: Callable[[], str],
    *,
    explain: Callable[[list[Planned]], None] | None = None,
) -> tuple[OperationRecord, ...]:
    """Accept VMs: all are placed and reserved, or Refusal says why and nothing has changed.

    `explain` is given the places with their explanations, when anybody wants these.
    """
    if len(ctx.world.open) + len(specs) > MAX_OPEN:
        raise Refusal("busy", f"{len(ctx.world.open)} operations are open already; try again in a while")
    if known(algorithm).waits:
        if explain is not None:
            ctx.notes.append(f"{algorithm} may let VMs wait: op show says where each goes and why")
        return join_queue(ctx, owner, specs, mint_uuid)
    planned = plan(ctx, specs, algorithm, explained=explain is not None)
    if explain is not None:
        explain(planned)
    return tuple(_create(ctx, owner, each, mint_uuid()) for each in planned)


def migrate(
    ctx: Context, owner: str, vm: VmRecord, *, to: str | None, bandwidth: int, why: str = ""
) -> OperationRecord:
    """Accept a live migration; Refusal says why not."""
    hold_free(ctx, vm)
    assert vm.host is not None
    state, problem = ctx.world.host_state(vm.host, ctx.now)
    if state not in (HostState.UP, HostState.DRAINING):
        raise Refusal("refused", f"{vm.key} is on {vm.host}, which is {state.value}: {problem}")
    if not ctx.world.runs(vm):
        raise Refusal("refused", f"{vm.key} does not run, so there is nothing to migrate live")
    if to is not None and to == vm.host:
        raise Refusal("refused", f"{vm.key} is on {to} already", "to")
    demand = msgspec.structs.replace(vm.demand, wanted_host=to)
    fleet = ctx.world.fleet(ctx.now)
    answer = Placer(fleet).decide(demand, MIGRATION_ALGORITHM)
    if isinstance(answer, NotPlaced):
        raise Refusal("refused", answer.why, "to", details_of(fleet, demand, answer))
    _say_losses(ctx, vm, answer)
    return begin(
        ctx,
        new_migration(
            ctx,
            owner,
            vm,
            answer.host,
            why or answer.why,
            numa_nodes=answer.numa_nodes,
            bandwidth=bandwidth,
            to=to,
        ),
    )


def _say_losses(ctx: Context, vm: VmRecord, answer: Placed) -> None:
    """A migration is not refused for what it leaves without a place to restart; it is said."""
    if ctx.world.settings.admission is Admission.OFF:
        return
    assert vm.host is not None
    move = Move(vm=vm.key, source=vm.host, target=answer.host, memory=vm.demand.memory)
    losses = ctx.world.restarts(ctx.now).caused_by_moves((move,))
    if losses:
        ctx.notes.append(f"once {vm.key} is on {answer.host}, {sentences(losses)}")


def new_migration(
    ctx: Context,
    owner: str,
    vm: VmRecord,
    target: str,
    why: str,
    *,
    numa_nodes: tuple[int, ...] = (),
    bandwidth: int = 0,
    to: str | None = None,
    parent: int | None = None,
) -> OperationRecord:
    """A migration that has been decided, not begun; as part of another operation it waits for its turn.

    `to` is the target that was asked for, None when it was chosen. From now on it has hold of the VM, and
    of room at both ends.
    """
    assert vm.host is not None
    args: dict[str, object] = {"copy": must_copy(ctx, vm, target), "bandwidth": bandwidth}
    if to is not None:
        args["to"] = to
    if vm.numa_nodes or numa_nodes:
        args["numa"] = {"source": list(vm.numa_nodes), "target": list(numa_nodes)}
    op = ctx.new_operation(
        "migrate",
        "preparation" if parent is None else "pending",
        owner,
        vm=vm.spec.id,
        source=vm.host,
        target=target,
        why=why,
        parent=parent,
        args=args,
    )
    ctx.put_vm(msgspec.structs.replace(vm, operation=op.id))
    return op


def on_vm(ctx: Context, kind: str, state: str, owner: str, vm: VmRecord, **args: object) -> OperationRecord:
    """Begin an operation that concerns a VM where it is: delete, start or stop."""
    if kind == "delete" and waits(ctx.world, vm):
        return withdraw(ctx, owner, vm)
    hold_free(ctx, vm)
    op = ctx.new_operation(kind, state, owner, vm=vm.spec.id, source=vm.host, args=dict(args))
    ctx.put_vm(msgspec.structs.replace(vm, operation=op.id))
    return begin(ctx, op)


def adopt(ctx: Context, owner: str, host: str, name: str) -> OperationRecord:
    """Begin to take a foreign domain into care; Refusal says why not."""
    found = [domain.name for domain in foreign(ctx.world, host)]
    if name not in found:
        names = ", ".join(found) or "none"
        raise Refusal(
            "not_found",
            f"name is {name!r}, and {host} has no foreign domain of that name; it has: {names}",
            "name",
        )
    if name in ctx.world.vms:
        raise Refusal("exists", f"name is {name!r}, and a VM of that id exists already", "name")
    return begin(ctx, ctx.new_operation("adopt", "adopting", owner, source=host, args={"name": name}))


def delete_image(ctx: Context, owner: str, name: str) -> OperationRecord:
    """Begin to delete an image that nothing stands on; Refusal says why not."""
    world = ctx.world
    record = world.images.get(name)
    if record is None:
        raise Refusal(
            "not_found", f"id is {name!r}, and there is no such image; `image list` shows all", "id"
        )
    if name == world.settings.default_image:
        raise Refusal("refused", f"image {name} is the default image; restart the coordinator with another")
    users = [vm.key for vm in users_of(world, name)]
    if users:
        raise Refusal("refused", f"image {name} is in use by {', '.join(users[:5])}; delete those VMs first")
    if record.operation is not None:
        raise Refusal("busy", f"operation {record.operation} is deleting image {name} already")
    args = {"image": name, "hosts": list(world.hosts)}
    op = ctx.new_operation("delete_image", "deleting", owner, args=args)
    ctx.put_image(msgspec.structs.replace(record, operation=op.id))
    return begin(ctx, op)


def cancel(ctx: Context, by: str, op: OperationRecord) -> OperationRecord:
    """Begin to bring an operation to its end that nobody wants any more; asking again changes nothing.

    It may have come too late: what the operation did is said when it has ended. Refusal says why not.
    """
    if op.cancelled_by:
        return op
    if op.done:
        raise Refusal("refused", f"operation {op.id} ({op.kind}) has ended already: it is {op.state}", "id")
    if op.state not in TABLE[op.kind].cancel:
        raise Refusal(
            "refused",
            f"operation {op.id} ({op.kind}, {op.state}) is not cancelled: {TOO_LATE[op.kind][op.state]}",
            "id",
        )
    call_off(ctx, ctx.note(op, f"{by} asked for it to be cancelled", cancelled_by=by))
    return ctx.world.operations[op.id]


def hold_free(ctx: Context, vm: VmRecord) -> None:
    """Refuse when an operation has hold of the VM."""
    if vm.operation is not None:
        op = ctx.world.operations[vm.operation]
        raise Refusal(
            "busy",
            f"operation {op.id} ({op.kind}, {op.state}) has hold of {vm.key}; wait until it ends, "
            "or cancel it",
        )


def _create(ctx: Context, owner: str, planned: Planned, uuid: str) -> OperationRecord:
    spec, placed = planned.spec, planned.placed
    op = ctx.new_operation(
        "create", "making_room" if placed.moves else "provisioning", owner, vm=spec.id, target=placed.host,
        why=placed.why, args={"algorithm": placed.algorithm},
    )  # fmt: skip
    vm = new_vm(ctx, owner, spec, (planned.image, planned.kernel_image), uuid=uuid, operation=op.id)
    vm = at_home(ctx, vm, placed)
    ctx.put_vm(vm)
    ctx.put_meta(msgspec.structs.replace(ctx.world.meta, last_host=placed.host))
    if not placed.moves:
        return begin(ctx, op)
    return _create_after(ctx, op, placed.moves)


def _create_after(ctx: Context, op: OperationRecord, moves: tuple[Move, ...]) -> OperationRecord:
    """The moves that make room for a VM, each of them held from now on; the first begins."""
    steps = tuple(
        new_migration(
            ctx,
            op.owner,
            ctx.world.vms[move.vm],
            move.target,
            f"makes room for {op.vm}",
            numa_nodes=move.numa_nodes,
            parent=op.id,
        )
        for move in moves
    )
    numbers = ", then ".join(str(step.id) for step in steps)
    op = ctx.note(op, f"waits for operation(s) {numbers}", children=tuple(step.id for step in steps))
    proceed(ctx, steps[0], "preparation", "its turn has come")
    return op
