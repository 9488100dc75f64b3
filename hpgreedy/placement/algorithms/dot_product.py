"""Dot product: the host whose room has the shape of the VM."""

from __future__ import annotations

import numpy as np

from hpgreedy.placement.algorithms.algorithm import Algorithm
from hpgreedy.placement.question import Question


def shares(question: Question) -> np.ndarray:
    """How much of the room the VM takes in the room's own direction: (need . free) / (free . free).

    1 when it fills the room exactly; 1 too where nothing is free and nothing is needed.
    """
    rooms = question.rooms
    free, need = rooms.free / rooms.largest, rooms.need / rooms.largest
    length = (free**2).sum(axis=0)
    found: np.ndarray = np.where(
        length > 0, (need * free).sum(axis=0) / np.where(length > 0, length, 1.0), 1.0
    )
    return found


def choose(question: Question) -> int | None:
    """The candidate with the greatest share."""
    return question.least(-shares(question))


def why(question: Question, position: int) -> str:
    """What speaks for it."""
    share = shares(question)[int(np.searchsorted(question.candidates, position))]
    key = question.host(position).key
    return f"the VM takes {share:.0%} of the room on {key} in that room's own direction"


DOT_PRODUCT = Algorithm(
    name="dot_product",
    summary="the host whose free room the VM fills best in that room's own direction",
    source="Panigrahy et al. 2011, Heuristics for Vector Bin Packing (dot-product greedy), asked of hosts",
    choose=choose,
    why=why,
)
