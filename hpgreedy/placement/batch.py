"""Many decisions, one after the other."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from hpgreedy.model import Cluster, Demand
from hpgreedy.placement.algorithms import DEFAULT
from hpgreedy.placement.decision import NotPlaced, Placed
from hpgreedy.placement.fleet import Fleet
from hpgreedy.placement.placer import Placer


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to each demand, in their order, and the cluster when all of it is done."""

    answers: tuple[Placed | NotPlaced, ...]
    cluster: Cluster


def place_all(
    cluster: Cluster, demands: Iterable[Demand], algorithm: str = DEFAULT, *, seed: int = 0
) -> Batch:
    """Place the demands in their order; each one's moves are done before the next one comes.

    One that no host takes is passed over. Raises SpecError for an unknown algorithm.
    """
    placer = Placer(Fleet(cluster))
    answers: list[Placed | NotPlaced] = []
    last: str | None = None
    for demand in demands:
        answer = placer.decide(demand, algorithm, seed=seed, last=last)
        answers.append(answer)
        if isinstance(answer, Placed):
            placer.commit(demand, answer)
            last = answer.host
    return Batch(answers=tuple(answers), cluster=placer.fleet.cluster())
