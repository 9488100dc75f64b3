"""Many decisions, one after the other."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from hpgreedy.model import Cluster, Demand
from hpgreedy.placement.algorithms import DEFAULT, known
from hpgreedy.placement.decision import NotPlaced, Placed
from hpgreedy.placement.delayed import Queue, Served, Waiter, first_fit
from hpgreedy.placement.fleet import Fleet
from hpgreedy.placement.makeroom import Limits
from hpgreedy.placement.placer import Placer
from hpgreedy.placement.restart import Admission, Gate


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to each demand, in their order, and the cluster when all of it is done.

    order: the numbers of the demands in the order in which they were answered; their own, but with a queue
    and where the batch was packed as a whole. notes: what admission let pass all the same, in sentences.
    """

    answers: tuple[Placed | NotPlaced, ...]
    order: tuple[int, ...]
    cluster: Cluster
    notes: tuple[str, ...] = ()


def place_all(
    cluster: Cluster,
    demands: Iterable[Demand],
    algorithm: str = DEFAULT,
    *,
    seed: int = 0,
    limits: Limits | None = None,
    admission: Admission = Admission.OFF,
) -> Batch:
    """Place the demands in their order; each one's moves are done before the next one comes.

    One that no host takes is passed over. With an algorithm that lets VMs wait, the queue is flushed at the
    end. Raises SpecError for an unknown algorithm.
    """
    placer, batch = Placer(Fleet(cluster), limits), tuple(demands)
    gate = Gate(placer, admission)
    if known(algorithm).waits:
        return _place_in_turn(gate, batch)
    answers: dict[int, Placed | NotPlaced] = {}
    last: str | None = None
    order = placer.turns(batch, algorithm, seed=seed)
    for number in order:
        answer = gate.decide(batch[number], algorithm, seed=seed, last=last)
        answers[number] = answer
        if isinstance(answer, Placed):
            placer.commit(batch[number], answer)
            last = answer.host
    in_order = tuple(answers[number] for number in range(len(batch)))
    return Batch(answers=in_order, order=order, cluster=placer.fleet.cluster(), notes=tuple(gate.notes))


def _place_in_turn(gate: Gate, demands: tuple[Demand, ...]) -> Batch:
    placer = gate.placer
    queue, waiting = Queue(placer.fleet, first_fit(gate), placer.commit), tuple[Waiter, ...]()
    served: list[Served] = []
    for demand in demands:
        turn = queue.arrive(waiting, demand)
        waiting = turn.queue
        served += turn.served
    served += queue.flush(waiting).served
    numbers = {demand.key: n for n, demand in enumerate(demands)}
    answers = {each.demand.key: each.answer for each in served}
    return Batch(
        answers=tuple(answers[demand.key] for demand in demands),
        order=tuple(numbers[each.demand.key] for each in served),
        cluster=placer.fleet.cluster(),
        notes=tuple(gate.notes),
    )
