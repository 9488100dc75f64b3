"""Requests become operations: validated against the world first, then accepted whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from hpgreedy.model import HostState
from hpgreedy.operations.context import Context, Refusal
from hpgreedy.operations.kinds.base import begin, proceed
from hpgreedy.operations.places import Planned, details_of, must_copy, plan
from hpgreedy.operations.queue import join_queue, waits, withdraw
from hpgreedy.operations.records import OperationRecord, VmRecord
from hpgreedy.operations.vms import at_home, new_vm
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
            ctx, owner, vm, answer.host, why or answer.why, numa_nodes=answer.numa_nodes, bandwidth=bandwidth
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
    parent: int | None = None,
) -> OperationRecord:
    """A migration that has been decided, not begun; as part of another operation it waits for its turn.

    From now on it has hold of the VM, and of room at both ends.
    """
    assert vm.host is not None
    args: dict[str, object] = {"copy": must_copy(ctx, vm, target), "bandwidth": bandwidth}
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


def hold_free(ctx: Context, vm: VmRecord) -> None:
    """Refuse when an operation has hold of the VM."""
    if vm.operation is not None:
        op = ctx.world.operations[vm.operation]
        raise Refusal(
            "busy", f"operation {op.id} ({op.kind}, {op.state}) has hold of {vm.key}; wait until it ends"
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
