"""Dot product: the host whose room has the shape of the VM."""

from __future__ import annotations

from hpgreedy.placement.algorithms.vectors import Axis, least
from hpgreedy.placement.decision import Algorithm, Choice, Question


def score(room: list[Axis]) -> float:
    """How much of the room the VM takes in the room's own direction: (need . free) / (free . free).

    1 when it fills the room exactly; 1 too where nothing is free and nothing is needed.
    """
    length = sum(axis.free**2 for axis in room)
    return sum(axis.need * axis.free for axis in room) / length if length else 1.0


def choose(question: Question) -> Choice | None:
    """The candidate with the greatest score."""
    best = least(question, lambda room: -score(room))
    if not best:
        return None
    share, host = best[0]
    return Choice(
        host=host.key,
        why=f"dot product: the VM takes {-share:.0%} of the room on {host.key} in that room's own direction",
        runner_up=best[1][1].key if len(best) > 1 else None,
    )


DOT_PRODUCT = Algorithm(
    name="dot_product",
    summary="the host whose free room the VM fills best in that room's own direction",
    source="Panigrahy et al. 2011, Heuristics for Vector Bin Packing (dot-product greedy), asked of hosts",
    choose=choose,
)
