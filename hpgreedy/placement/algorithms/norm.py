"""Norm: the host whose room is nearest to the VM, as vectors."""

from __future__ import annotations

from hpgreedy.placement.algorithms.vectors import Axis, least
from hpgreedy.placement.decision import Algorithm, Choice, Question


def score(room: list[Axis]) -> float:
    """The squared Euclidean distance between the VM and the room: the sum of (free - need)^2."""
    return sum((axis.free - axis.need) ** 2 for axis in room)


def choose(question: Question) -> Choice | None:
    """The candidate with the smallest distance."""
    best = least(question, score)
    if not best:
        return None
    distance, host = best[0]
    return Choice(
        host=host.key,
        why=f"norm: the room on {host.key} is nearest to the VM (distance {distance**0.5:.3g})",
        runner_up=best[1][1].key if len(best) > 1 else None,
    )


NORM = Algorithm(
    name="norm",
    summary="the host whose free room, as a vector, is nearest to what the VM needs",
    source="Panigrahy et al. 2011, Heuristics for Vector Bin Packing (norm-based greedy)",
    choose=choose,
)
