"""Packed: a whole batch at once, on as few hosts as can be; by itself a VM goes to the best fit."""

from __future__ import annotations

from hpgreedy.placement.algorithms import best_fit
from hpgreedy.placement.algorithms.algorithm import Algorithm
from hpgreedy.placement.question import Question


def choose(question: Question) -> int | None:
    """The host that was found for it with the others of its batch, else the best fit."""
    position = question.hinted()
    return question.least_free() if position is None else position


def why(question: Question, position: int) -> str:
    """What speaks for it."""
    if question.hinted() == position:
        return f"{question.host(position).key} is where it fits best with the others of its request"
    return best_fit.why(question, position)


PACKED = Algorithm(
    name="packed",
    summary="all VMs of a request together, on as few hosts as can be found in the time there is",
    source="orders, rules and a tabu search that empties hosts; hpgreedy/placement/packing",
    choose=choose,
    why=why,
    makes_room=True,
    batch=True,
)
