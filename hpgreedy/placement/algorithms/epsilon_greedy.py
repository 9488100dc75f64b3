"""Epsilon-greedy: mostly any host that has room, else the best fit."""

from __future__ import annotations

import random

from hpgreedy.placement.algorithms import best_fit
from hpgreedy.placement.decision import Algorithm, Choice, Question

EPSILON = 0.7


def choose(question: Question) -> Choice | None:
    """With probability `EPSILON` a candidate drawn evenly, else best fit's.

    The draw follows from the seed and the VM's id alone, so the VMs of one batch draw independently.
    """
    ranked = best_fit.ranked(question.cluster, question.demand, question.candidates)
    if not ranked:
        return None
    chance = random.Random(f"{question.seed}:{question.demand.key}")  # noqa: S311 - no secret is made of it
    at_random = chance.random() < EPSILON
    host = chance.choice(question.candidates) if at_random else ranked[0]
    other = next((each.key for each in ranked if each.key != host.key), None)
    how = "drawn at random among those that take it" if at_random else "the best fit"
    return Choice(
        host=host.key,
        why=f"epsilon-greedy: {host.key} is {how} (seed {question.seed})",
        runner_up=other,
    )


EPSILON_GREEDY = Algorithm(
    name="epsilon_greedy",
    summary="with probability 0.7 any host that has room, else best fit; drawn from a seed",
    source="the original HP Greedy; the idea is that of multi-armed bandits",
    choose=choose,
)
