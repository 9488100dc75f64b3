"""The orders in which a heuristic takes the items: large ones first, by several notions of large."""

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
    yield "largest resource", share.max(axis=1, initial=0.0)
    yield "sum", share.sum(axis=1)
    yield "norm", (share**2) @ weight
    yield "product", np.log(share + 1e-3).sum(axis=1)


def orders(problem: Problem) -> Iterator[tuple[str, IntArray]]:
    """Name and permutation of each order; where rules differ, those with few bins to go to come first too."""
    choice = problem.allowed.sum(axis=1)[problem.kind]
    for name, measure in measures(problem):
        yield name, np.argsort(-measure, kind="stable")
        if choice.size and choice.min() < choice.max():
            yield f"fewest bins, {name}", np.lexsort((-measure, choice))
