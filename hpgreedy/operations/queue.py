"""The queue of `delayed`: create operations in the state `waiting`, oldest first, each with its rounds.

The queue is nothing but these records, so it is as durable as they are. Nothing is held for what waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from hpgreedy.model import Demand
from hpgreedy.operations.context import Context, Refusal
from hpgreedy.operations.kinds.base import complete, not_made, proceed
from hpgreedy.operations.places import details_of, images_of, refuse_known, refuse_taken_macs
from hpgreedy.operations.records import OperationRecord, VmRecord
from hpgreedy.operations.vms import at_home, new_vm
from hpgreedy.operations.world import Now, World
from hpgreedy.placement import NotPlaced, Placed, Placer
from hpgreedy.placement.algorithms.delayed import DELAYED
from hpgreedy.placement.algorithms.first_fit import FIRST_FIT
from hpgreedy.placement.delayed import Queue, Turn, Waiter, waits_for
from hpgreedy.placement.restart import admit
from protocol.spec import VmSpec

WAITING = "waiting"


def join_queue(
    ctx: Context, owner: str, specs: Sequence[VmSpec], mint_uuid: Callable[[], str]
) -> tuple[OperationRecord, ...]:
    """Accept VMs that may wait; each one that comes is a round for the others. Raises Refusal when one would
    fit on no empty host.
    """
    refuse_known(ctx, specs)
    refuse_taken_macs(ctx, specs)
    numbers, waiters = [], _waiters(ctx.world)
    for n, spec in enumerate(specs):
        images = images_of(ctx, spec, f"vms[{n}]")
        queue = _queue(ctx)
        turn = queue.arrive(waiters, Demand.of_spec(spec))
        _refuse_hopeless(queue, turn, spec, n)
        op = ctx.new_operation(
            "create", WAITING, owner, vm=spec.id, args={"algorithm": DELAYED.name, "rounds": 0}
        )
        ctx.put_vm(new_vm(ctx, owner, spec, images, uuid=mint_uuid(), operation=op.id))
        numbers.append(op.id)
        _carry_out(ctx, turn)
        waiters = turn.queue
    return tuple(ctx.world.operations[number] for number in numbers)


def flush(ctx: Context) -> tuple[OperationRecord, ...]:
    """Place all that wait by first fit; the operations that wait no longer. The notes say who waits on."""
    before = list(waiting(ctx.world))
    turn = _queue(ctx).flush(_waiters(ctx.world))
    _carry_out(ctx, turn)
    ctx.notes += [f"{ctx.world.vms[key].spec.id} still waits: {why}" for key, why in turn.kept.items()]
    after = (ctx.world.operations[op.id] for op in before)
    return tuple(op for op in after if op.state != WAITING)


def waits(world: World, vm: VmRecord) -> bool:
    """Whether the VM is in the queue."""
    return vm.operation is not None and world.operations[vm.operation].state == WAITING


def withdraw(ctx: Context, owner: str, vm: VmRecord) -> OperationRecord:
    """Take a VM out of the queue; the operation that has deleted it."""
    assert vm.operation is not None
    error = f"{vm.key} was deleted while it waited for a host; nothing of it had been made"
    op = ctx.new_operation("delete", "withdrawing", owner, vm=vm.spec.id)
    op = complete(ctx, op, "it is out of the queue; nothing of it had been made")
    not_made(ctx, ctx.world.operations[vm.operation], error)
    return op


def told(world: World, op: OperationRecord, now: Now) -> str:
    """What a waiting operation waits for; empty for others."""
    if op.state != WAITING:
        return ""
    return waits_for(world.fleet(now), _waiter(world, op))


def waiting(world: World) -> list[OperationRecord]:
    """The operations in the queue, oldest first."""
    return [op for op in world.open_operations() if op.state == WAITING]


def _waiters(world: World) -> tuple[Waiter, ...]:
    return tuple(_waiter(world, op) for op in waiting(world))


def _waiter(world: World, op: OperationRecord) -> Waiter:
    return Waiter(demand=world.vms[op.vm_key].demand, rounds=int(op.args["rounds"]))


def _queue(ctx: Context) -> Queue:
    """The queue's rules on the fleet as the records have it; what they place is held in the fleet alone."""
    world = ctx.world
    placer = Placer(world.fleet(ctx.now))
    restarts = world.restarts(ctx.now)

    def decide(demand: Demand, host: str | None) -> Placed | NotPlaced:
        asked = demand if host is None else msgspec.structs.replace(demand, wanted_host=host)
        admitted = admit(placer, restarts, world.settings.admission, asked, FIRST_FIT.name)
        if admitted.note:
            ctx.notes.append(admitted.note)
        return admitted.answer

    def hold(demand: Demand, placed: Placed) -> None:
        world.tried(demand.key)
        placer.reserve(demand, placed)

    return Queue(placer.fleet, decide, hold, patient=True)


def _refuse_hopeless(queue: Queue, turn: Turn, spec: VmSpec, n: int) -> None:
    """A VM that no host would take even if it were empty is refused with the request that brings it."""
    for served in turn.served:
        answer = served.answer
        if served.demand.key == spec.key and isinstance(answer, NotPlaced):
            accepted = " (nothing was accepted)" if n else ""
            raise Refusal(
                "refused",
                f"{spec.key} was not placed: {answer.why}{accepted}",
                f"vms[{n}]",
                details_of(queue.fleet, served.demand, answer),
            )


def _carry_out(ctx: Context, turn: Turn) -> None:
    """Have the records say what became of the queue; what was placed begins."""
    world = ctx.world
    for waiter in turn.queue:
        op = _operation(world, waiter.demand)
        if op.args["rounds"] != waiter.rounds:
            ctx.put_operation(msgspec.structs.replace(op, args={**op.args, "rounds": waiter.rounds}))
    for served in turn.served:
        op, answer = _operation(world, served.demand), served.answer
        if isinstance(answer, NotPlaced):
            not_made(ctx, op, f"{op.vm} was not placed when its turn came: {answer.why}")
            continue
        ctx.put_vm(at_home(ctx, world.vms[op.vm_key], answer))
        ctx.put_meta(msgspec.structs.replace(world.meta, last_host=answer.host))
        op = ctx.put_operation(msgspec.structs.replace(op, target=answer.host, why=answer.why))
        proceed(ctx, op, "provisioning", answer.why)


def _operation(world: World, demand: Demand) -> OperationRecord:
    number = world.vms[demand.key].operation
    assert number is not None
    return world.operations[number]
