"""Many decisions, one after the other."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from hpgreedy.model import Cluster, Demand
from hpgreedy.placement.algorithms import DEFAULT
from hpgreedy.placement.decide import carried_out, decide
from hpgreedy.placement.decision import NotPlaced, Placed


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
    answers: list[Placed | NotPlaced] = []
    last: str | None = None
    for demand in demands:
        answer = decide(cluster, demand, algorithm, seed=seed, last=last)
        answers.append(answer)
        if isinstance(answer, Placed):
            cluster = carried_out(cluster, demand, answer)
            last = answer.host
    return Batch(answers=tuple(answers), cluster=cluster)
