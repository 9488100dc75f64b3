"""Heuristics that pack a batch in one pass, item by item or bin by bin.

Panigrahy, Talwar, Uyeda, Wieder, Heuristics for Vector Bin Packing, 2011.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hpgreedy.placement.packing.problem import NOWHERE, BoolArray, FloatArray, IntArray, Problem
from hpgreedy.placement.packing.scale import scarcity, unit

Rule = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]
"""From (room, want, weights), with resources in rows, to a score for each column; the smallest is taken."""

# Items that are compared for a place in a bin: of more, every second, third … one.
SAMPLE = 1000


def _first(room: FloatArray, want: FloatArray, weights: FloatArray) -> FloatArray:
    return np.zeros(max(room.shape[1], want.shape[1]))


def _least_left(room: FloatArray, want: FloatArray, weights: FloatArray) -> FloatArray:
    left: FloatArray = weights @ (room - want)
    return left


def _nearest(room: FloatArray, want: FloatArray, weights: FloatArray) -> FloatArray:
    distance: FloatArray = weights @ (room - want) ** 2
    return distance


def _same_shape(room: FloatArray, want: FloatArray, weights: FloatArray) -> FloatArray:
    length = np.sqrt((weights @ room**2) * (weights @ want**2))
    return -(weights @ (room * want)) / np.where(length > 0, length, 1.0)


def _largest_product(room: FloatArray, want: FloatArray, weights: FloatArray) -> FloatArray:
    return -(weights @ (room * want))


FOR_ITEMS: dict[str, Rule] = {
    "best fit": _least_left,
    "norm": _nearest,
    "dot product": _same_shape,
    "first fit": _first,
}
FOR_BINS: dict[str, Rule] = {"dot product": _largest_product, "norm": _nearest}


def preference(problem: Problem) -> IntArray:
    """The bins in the order in which they are opened: busy ones, then those with most room."""
    size = (np.maximum(problem.free, 0) / unit(problem)) @ scarcity(problem)
    return np.lexsort((-size, ~problem.busy))


def item_by_item(
    problem: Problem, order: IntArray, rule: Rule, over: Callable[[], bool] | None = None
) -> IntArray | None:
    """Each item to the open bin the rule likes best, or to the next bin that takes it; None when out of time.

    Items nothing takes stay without a bin.
    """
    scale, weights = unit(problem), scarcity(problem)[None, :]
    bins = preference(problem)
    opened = int(problem.busy.sum())
    room = _room(problem)[bins].T.copy()
    share = room / scale[:, None]
    wants = problem.need / scale
    allowed = problem.allowed[:, bins]
    free_for_all = np.all(allowed, axis=1)
    groups = Groups(problem)
    place = np.empty(problem.bins, np.int64)
    place[bins] = np.arange(problem.bins)
    assignment = np.full(problem.items, NOWHERE, np.int64)
    for step, item in enumerate(order.tolist()):
        if over is not None and step % 64 == 0 and over():
            return None
        need = problem.need[item]
        barred = place[groups.barred(item, assignment)] if groups.of[item] else None
        rules = None if free_for_all[problem.kind[item]] else allowed[problem.kind[item]]
        found = _fitting(room[:, :opened], need, rules, barred)
        if found.size:
            scores = rule(share[:, found], wants[item][:, None], weights[0])
            column = int(found[scores.argmin()])
        else:
            found = _fitting(room[:, opened:], need, None if rules is None else rules[opened:], None)
            if not found.size:
                continue
            column = _open(int(found[0]) + opened, opened, (room, share, allowed), bins, place)
            opened += 1
        room[:, column] -= need
        share[:, column] -= wants[item]
        assignment[item] = bins[column]
    return assignment


def bin_by_bin(problem: Problem, rule: Rule, over: Callable[[], bool] | None = None) -> IntArray | None:
    """Fill one bin after the other with the item the rule likes best; None when out of time."""
    scale, weights = unit(problem), scarcity(problem)
    groups = Groups(problem)
    assignment = np.full(problem.items, NOWHERE, np.int64)
    left = np.arange(problem.items)
    needs = problem.need.T.copy()
    rooms = _room(problem)
    for home in preference(problem).tolist():
        if not left.size or (over is not None and over()):
            break
        room = rooms[home]
        columns = _within(needs, room, problem.allowed[problem.kind[left], home])
        near, need = left[columns], needs[:, columns]
        while near.size:
            stride = -(-near.size // SAMPLE)
            best = stride * int(
                rule((room / scale)[:, None], need[:, ::stride] / scale[:, None], weights).argmin()
            )
            item = int(near[best])
            assignment[item] = home
            room -= need[:, best]
            apart = ~groups.rivals(item)[near] if groups.of[item] else np.ones(near.size, np.bool_)
            apart[best] = False
            columns = _within(need, room, apart)
            near, need = near[columns], need[:, columns]
        columns = np.flatnonzero(assignment[left] == NOWHERE)
        left, needs = left[columns], needs[:, columns]
    return None if left.size and over is not None and over() else assignment


class Groups:
    """Which items may not share a bin with which."""

    def __init__(self, problem: Problem) -> None:
        self.of: list[list[int]] = [[] for _ in range(problem.items)]
        self._groups = [np.array(group, np.int64) for group in problem.conflicts if len(group) > 1]
        self._items = problem.items
        for number, group in enumerate(self._groups):
            for item in group.tolist():
                self.of[item].append(number)

    def rivals(self, item: int) -> BoolArray:
        """[items]: those that may not share a bin with it."""
        mask = np.zeros(self._items, np.bool_)
        for number in self.of[item]:
            mask[self._groups[number]] = True
        mask[item] = False
        return mask

    def clash(self, one: int, other: int) -> bool:
        """Whether the two may not share a bin."""
        return not set(self.of[one]).isdisjoint(self.of[other])

    def barred(self, item: int, assignment: IntArray) -> IntArray:
        """The bins in which a rival of the item is."""
        rivals = np.concatenate([self._groups[number] for number in self.of[item]])
        homes = assignment[rivals[rivals != item]]
        found: IntArray = homes[homes != NOWHERE]
        return found


def _room(problem: Problem) -> IntArray:
    """What is free; nothing at all where a bin is short of anything."""
    room: IntArray = problem.free.copy()
    room[(room < 0).any(axis=1)] = -1
    return room


def _fitting(room: IntArray, need: IntArray, allowed: BoolArray | None, barred: IntArray | None) -> IntArray:
    """The columns of room that hold the need, are allowed and not barred."""
    fits = np.ones(room.shape[1], np.bool_)
    for row, amount in zip(room, need, strict=True):
        fits &= row >= amount
    if allowed is not None:
        fits &= allowed[: fits.size]
    if barred is not None:
        fits[barred[barred < fits.size]] = False
    return np.flatnonzero(fits)


def _within(needs: IntArray, room: IntArray, fits: BoolArray) -> IntArray:
    """The columns of needs that fit into the room, of those that `fits` has (and which is written to)."""
    for row, amount in zip(needs, room, strict=True):
        fits &= row <= amount
    return np.flatnonzero(fits)


def _open(
    column: int,
    opened: int,
    tables: tuple[IntArray | FloatArray | BoolArray, ...],
    bins: IntArray,
    place: IntArray,
) -> int:
    """Bring a closed bin's column next to the opened ones, keeping the others' order; its new column."""
    if column != opened:
        span = np.r_[column, opened:column]
        for table in (*tables, bins[None, :]):
            table[:, opened : column + 1] = table[:, span]
        place[bins[opened : column + 1]] = np.arange(opened, column + 1)
    return opened
