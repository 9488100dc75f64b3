"""Next fit: the hosts in turn."""

from __future__ import annotations

from hpgreedy.placement.algorithms.algorithm import Algorithm
from hpgreedy.placement.question import Question


def begin(question: Question) -> int:
    """The position after the host that was used last; 0 when there is none."""
    position = None if question.last is None else question.fleet.position.get(question.last)
    return 0 if position is None else position + 1


def choose(question: Question) -> int | None:
    """The first candidate after the host that was used last, in a circle; that host itself comes last."""
    return question.first_from(begin(question))


def why(question: Question, position: int) -> str:
    """What speaks for it."""
    after = f"after {question.last}, which was used last," if begin(question) else "in order of registration"
    return f"{question.host(position).key} is the first host {after} that takes it"


NEXT_FIT = Algorithm(
    name="next_fit",
    summary="the first host with room after the one that was used last, in a circle",
    source="a classic of bin packing, in the circular form of the original HP Greedy",
    choose=choose,
    why=why,
)
