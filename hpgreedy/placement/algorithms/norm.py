"""Norm: the host whose room is nearest to the VM, as vectors."""

from __future__ import annotations

import numpy as np

from hpgreedy.placement.algorithms.algorithm import Algorithm
from hpgreedy.placement.question import Question


def distances(question: Question) -> np.ndarray:
    """The squared Euclidean distance between the VM and each room: the sum of (free - need)^2."""
    rooms = question.rooms
    found: np.ndarray = (((rooms.free - rooms.need) / rooms.largest) ** 2).sum(axis=0)
    return found


def choose(question: Question) -> int | None:
    """The candidate with the smallest distance."""
    return question.least(distances(question))


def why(question: Question, position: int) -> str:
    """What speaks for it."""
    distance = float(distances(question)[int(np.searchsorted(question.candidates, position))]) ** 0.5
    return f"the room on {question.host(position).key} is nearest to the VM (distance {distance:.3g})"


NORM = Algorithm(
    name="norm",
    summary="the host whose free room, as a vector, is nearest to what the VM needs",
    source="Panigrahy et al. 2011, Heuristics for Vector Bin Packing (norm-based greedy)",
    choose=choose,
    why=why,
)
