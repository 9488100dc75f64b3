"""Many decisions, one after the other."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from hpgreedy.model import Cluster, Demand
from hpgreedy.placement.algorithms import DEFAULT, known
from hpgreedy.placement.decision import NotPlaced, Placed
from hpgreedy.placement.delayed import Queue, Served, Waiter, first_fit
from hpgreedy.placement.fleet import Fleet
from hpgreedy.placement.placer import Placer


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to each demand, in their order, and the cluster when all of it is done.

    order: the numbers of the demands in the order in which they were answered; theirs but with a queue.
    """

    answers: tuple[Placed | NotPlaced, ...]
    order: tuple[int, ...]
    cluster: Cluster


def place_all(
    cluster: Cluster, demands: Iterable[Demand], algorithm: str = DEFAULT, *, seed: int = 0
) -> Batch:
    """Place the demands in their order; each one's moves are done before the next one comes.

    One that no host takes is passed over. With an algorithm that lets VMs wait, the queue is flushed at the
    end. Raises SpecError for an unknown algorithm.
    """
    placer = Placer(Fleet(cluster))
    if known(algorithm).waits:
        return _place_in_turn(placer, tuple(demands))
    answers: list[Placed | NotPlaced] = []
    last: str | None = None
    for demand in demands:
        answer = placer.decide(demand, algorithm, seed=seed, last=last)
        answers.append(answer)
        if isinstance(answer, Placed):
            placer.commit(demand, answer)
            last = answer.host
    return Batch(answers=tuple(answers), order=tuple(range(len(answers))), cluster=placer.fleet.cluster())


def _place_in_turn(placer: Placer, demands: tuple[Demand, ...]) -> Batch:
    queue, waiting = Queue(placer.fleet, first_fit(placer), placer.commit), tuple[Waiter, ...]()
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
    )
