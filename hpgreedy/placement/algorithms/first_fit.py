"""First fit: the first host that has room."""

from __future__ import annotations

from hpgreedy.placement.algorithms.algorithm import Algorithm
from hpgreedy.placement.question import Question


def why(question: Question, position: int) -> str:
    """What speaks for it."""
    return f"{question.host(position).key} is the first host in order of registration that takes it"


FIRST_FIT = Algorithm(
    name="first_fit",
    summary="the first host, in order of registration, that has room",
    source="a classic of bin packing",
    choose=Question.first,
    why=why,
)
