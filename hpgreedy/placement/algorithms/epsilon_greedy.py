"""Epsilon-greedy: mostly any host that has room, else the best fit."""

from __future__ import annotations

import random

from hpgreedy.placement.algorithms.algorithm import Algorithm
from hpgreedy.placement.question import Question

EPSILON = 0.7


def choose(question: Question) -> int | None:
    """With probability `EPSILON` a candidate drawn evenly, else best fit's.

    The draw follows from the seed and the VM's id alone, so the VMs of one batch draw independently.
    """
    if not len(question.candidates):
        return None
    chance = _chance(question)
    if chance.random() < EPSILON:
        return int(question.candidates[chance.randrange(len(question.candidates))])
    return question.least_free()


def why(question: Question, position: int) -> str:
    """What speaks for it."""
    drawn = _chance(question).random() < EPSILON
    how = "drawn at random among those that take it" if drawn else "the best fit"
    return f"{question.host(position).key} is {how} (seed {question.seed})"


def _chance(question: Question) -> random.Random:
    return random.Random(f"{question.seed}:{question.demand.key}")  # noqa: S311 - no secret is made of it


EPSILON_GREEDY = Algorithm(
    name="epsilon_greedy",
    summary="with probability 0.7 any host that has room, else best fit; drawn from a seed",
    source="the original HP Greedy; the idea is that of multi-armed bandits",
    choose=choose,
    why=why,
)
