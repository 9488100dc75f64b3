"""Worst fit: the host that keeps the most free."""

from __future__ import annotations

from hpgreedy.placement.algorithms.algorithm import Algorithm
from hpgreedy.placement.question import Question


def why(question: Question, position: int) -> str:
    """What speaks for it."""
    return f"it leaves the most on {question.host(position).key}"


WORST_FIT = Algorithm(
    name="worst_fit",
    summary="the host that has the most left over, all its resources on one scale: spreads the load",
    source="a classic of bin packing",
    choose=Question.most_free,
    why=why,
)
