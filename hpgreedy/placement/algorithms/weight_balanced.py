"""Weight balanced: every host near the same, comfortable fill."""

from __future__ import annotations

import numpy as np

from hpgreedy.placement.algorithms.algorithm import Algorithm
from hpgreedy.placement.question import Question

TARGET = 0.75


def utilisations(question: Question) -> np.ndarray:
    """How full each candidate is once it holds the VM: the share of its most used resource.

    The share of vCPUs and memory is of what the host may give out, overcommit included; resources of
    which it offers none do not count.
    """
    rooms = question.rooms
    offered = np.maximum(rooms.capacity, 1)
    held = np.where(rooms.capacity > 0, (rooms.capacity - rooms.free + rooms.need) / offered, 0.0)
    highest: np.ndarray = np.round(held.max(axis=0), 9)
    return highest


def choose(question: Question) -> int | None:
    """The candidate whose utilisation is nearest to `TARGET`; ties in order of registration."""
    return question.least(np.abs(utilisations(question) - TARGET))


def why(question: Question, position: int) -> str:
    """What speaks for it."""
    full = utilisations(question)[int(np.searchsorted(question.candidates, position))]
    return f"{question.host(position).key} will be {full:.0%} full, the nearest to {TARGET:.0%}"


WEIGHT_BALANCED = Algorithm(
    name="weight_balanced",
    summary="the host whose most used resource is then nearest to 75 % of what it offers",
    source="the original HP Greedy",
    choose=choose,
    why=why,
)
