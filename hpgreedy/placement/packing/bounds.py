"""Lower bounds: what no packing can do better than.

Weighted sums of the resources turn the problem into packing in one dimension, where dual feasible functions
apply: Martello and Toth 1990, Fekete and Schepers 2001; for vectors Alves, et al. 2014.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from hpgreedy.placement.packing.problem import FloatArray, Problem
from hpgreedy.placement.packing.scale import sizes

# Rounding never makes an item look larger than it is.
SLACK = 1e-9
# Weighted sums of amounts are told from whole parts of a bin by this, as long as bins have less than FINE of
# everything: then no two of them are nearer to each other without being the same.
ROUNDING = 1e-12
FINE = 1e11
# Beyond these the bounds that compare items in pairs or try every threshold take too long.
PAIRWISE = 1000
THRESHOLDS = 60


def fewest_opened(problem: Problem) -> int:
    """No packing of all items opens fewer bins than this that are not in use."""
    if not problem.items or not problem.bins:
        return 0
    largest = np.maximum(problem.free, 0).max(axis=0).astype(np.float64)
    scale = np.where(largest > 0, largest, 1.0)
    need = problem.need / scale
    room = np.maximum(problem.free, 0) / scale
    busy = int(problem.busy.sum())
    exact = float(scale.prod()) < FINE
    bound = max(0, _clique(problem, need) - busy)
    for weights in _weights(problem.resources):
        item, held = need @ weights, room @ weights
        bound = max(bound, _by_volume(item, held, problem))
        bound = max(bound, _by_functions(item, exact) - busy)
    return bound


def fewest_unplaced(problem: Problem) -> int:
    """At least this many items find no room, whatever the packing: all bins together are too small."""
    room = problem.free[(problem.free >= 0).all(axis=1)].astype(np.float64).sum(axis=0)
    most = problem.items - int(_hopeless(problem))
    for resource in range(problem.resources):
        taken = np.cumsum(np.sort(problem.need[:, resource]).astype(np.float64)) * (1 - SLACK)
        most = min(most, int(np.searchsorted(taken, room[resource], "right")))
    return problem.items - most


def _hopeless(problem: Problem) -> int:
    """Items that no bin takes even when it holds nothing else."""
    lost = 0
    for kind in np.unique(problem.kind):
        items = problem.need[problem.kind == kind]
        bins = problem.free[problem.allowed[kind] & (problem.free >= 0).all(axis=1)]
        fits = np.zeros(items.shape[0], np.bool_)
        for room in np.unique(bins, axis=0):
            fits |= (items <= room).all(axis=1)
        lost += int((~fits).sum())
    return lost


def _weights(resources: int) -> Iterator[FloatArray]:
    """Convex combinations of the resources: each alone, pairs in several ratios, all together."""
    yield from np.eye(resources)
    for one, other in combinations(range(resources), 2):
        for part in (0.5, 0.25, 0.75):
            weights = np.zeros(resources)
            weights[one], weights[other] = part, 1 - part
            yield weights
    if resources > 2:
        yield np.full(resources, 1 / resources)


def _by_volume(item: FloatArray, held: FloatArray, problem: Problem) -> int:
    """The fewest largest bins which, with those in use, hold the sum of all items."""
    short = item.sum() * (1 - SLACK) - held[problem.busy].sum()
    if short <= 0:
        return 0
    filled = np.cumsum(np.sort(held[~problem.busy])[::-1])
    return min(int(np.searchsorted(filled, short, "left")) + 1, filled.size)


def _by_functions(item: FloatArray, exact: bool) -> int:
    """Bins of size 1 that the items need, by the best of two families of dual feasible functions."""
    size = np.minimum(item * (1 - SLACK), 1.0)
    best = size.sum()
    for parts in range(1, 12):
        scaled = item * (parts + 1)
        whole = exact & (np.abs(scaled - np.round(scaled)) < ROUNDING)
        best = max(best, np.where(whole, size, np.floor(size * (parts + 1)) / parts).sum())
    small = np.unique(size[size <= 0.5])
    for limit in small[:: max(1, small.size // THRESHOLDS)]:
        best = max(best, np.where(size > 1 - limit, 1.0, np.where(size < limit, 0.0, size)).sum())
    return int(np.ceil(best * (1 - SLACK) - SLACK))


def _clique(problem: Problem, need: FloatArray) -> int:
    """Items of which no two fit into one bin, found greedily; or the largest conflict group."""
    apart = max((len(group) for group in problem.conflicts), default=0)
    order = np.argsort(-sizes(problem), kind="stable")[:PAIRWISE]
    wide = need[order] * (1 - SLACK)
    best = apart
    clash = np.zeros((order.size, order.size), np.bool_)
    for column in wide.T:
        clash |= column[:, None] + column[None, :] > 1.0
    degree = clash.sum(axis=1)
    open_to = np.ones(order.size, np.bool_)
    count = 0
    for item in np.argsort(-degree, kind="stable").tolist():
        if open_to[item]:
            open_to &= clash[item]
            count += 1
    return max(best, count)
