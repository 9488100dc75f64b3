"""The orders in which a heuristic takes the items, by several notions of large."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hpgreedy.placement.packing.problem import FloatArray, IntArray, Problem
from hpgreedy.placement.packing.scale import scarcity, unit


def measures(problem: Problem) -> Iterator[tuple[str, FloatArray]]:
    """Name and [items] value of each notion of large."""
    share = problem.need / unit(problem)
    weight = scarcity(problem)
    yield "weighted sum", share @ weight
    yield "single need", share.max(axis=1, initial=0.0)
    yield "sum", share.sum(axis=1)
    yield "norm", (share**2) @ weight
    yield "product", np.log(share + 1e-3).sum(axis=1)


def orders(problem: Problem) -> Iterator[tuple[str, IntArray]]:
    """Name and permutation of each order; where rules differ, also those with few bins to go to first.

    The second one takes small items first: when not all find room, that places most.
    """
    choice = problem.allowed.sum(axis=1)[problem.kind]
    for number, (name, measure) in enumerate(measures(problem)):
        yield f"largest {name} first", np.argsort(-measure, kind="stable")
        if number == 0:
            yield f"smallest {name} first", np.argsort(measure, kind="stable")
        if choice.size and choice.min() < choice.max():
            yield f"fewest bins and largest {name} first", np.lexsort((-measure, choice))
