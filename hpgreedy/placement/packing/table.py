"""Every way to make room in a bin by taking at most two items out, kept up to date bin by bin."""

from __future__ import annotations

from functools import cache
from itertools import combinations

import numpy as np

from hpgreedy.placement.packing.problem import BoolArray, FloatArray, IntArray, Problem

# Of a bin with more items than this, only some pairs are looked at, drawn anew whenever the bin changes.
PAIRED = 14
SPARE = 2


class Table:
    """The open bins of a search with what they hold; one row for each way to make room.

    Row arrays are [bins, rows]: `room` (one for each resource) what is then free, `cost` the summed size of
    what is taken out, `until` the round up to which one of these items has to stay. Rows that are not in use
    have no room.
    """

    def __init__(self, problem: Problem, sizes: FloatArray, chance: np.random.Generator) -> None:
        self._problem = problem
        self._chance = chance
        # One item more, of no size, fills up rows that take out fewer than two.
        self._none = problem.items
        self._need = np.vstack([problem.need, np.zeros((1, problem.resources), np.int64)])
        self._size = np.append(sizes, 0.0)
        self._stays = np.zeros(problem.items + 1, np.int64)
        self.homes = np.empty(0, np.int64)
        self.held: list[list[int]] = []
        self._allocate(0, 0)

    def load(self, homes: IntArray, held: list[list[int]]) -> None:
        """Take these bins as the open ones, each with the items it holds."""
        self.homes = homes.copy()
        self.held = [list(items) for items in held]
        self._stays[:] = 0
        self._rebuild_all()

    def close(self, place: int) -> list[int]:
        """Close the bin at that place; what it held. The last bin takes its place."""
        last = len(self.held) - 1
        items = self.held[place]
        self.held[place] = self.held[last]
        self.homes[place] = self.homes[last]
        for table in (*self.room, self.cost, self.until, self.out):
            table[place] = table[last]
        self.held.pop()
        self.homes = self.homes[:last]
        self._view(last)
        return items

    def exchange(self, place: int, items: tuple[int, ...], row: int, until: int) -> list[int]:
        """Put the items into that bin, to stay there until that round; the items that the row takes out."""
        out = [x for x in self.out[place, row].tolist() if x != self._none]
        held = self.held[place]
        for gone in out:
            held.remove(gone)
        held.extend(items)
        self._stays[list(items)] = until
        self._rebuild(place)
        return out

    def fitting(self, window: slice, need: list[int], now: int) -> BoolArray:
        """[bins of the window, rows]: which rows make room enough and take out nothing that has to stay."""
        fits = self.until[window] <= now
        for room, amount in zip(self.room, need, strict=True):
            fits &= room[window] >= amount
        return fits

    def assignment(self) -> IntArray:
        """[items]: each one's bin or NOWHERE."""
        assignment = np.full(self._problem.items, -1, np.int64)
        for home, items in zip(self.homes.tolist(), self.held, strict=True):
            assignment[items] = home
        return assignment

    def _allocate(self, bins: int, rows: int) -> None:
        self.rows = rows
        self._room = [np.full((bins, rows), -1, np.int64) for _ in range(self._problem.resources)]
        self._cost = np.zeros((bins, rows))
        self._until = np.zeros((bins, rows), np.int64)
        self._out = np.full((bins, rows, 2), self._none, np.int64)
        self._view(bins)

    def _view(self, bins: int) -> None:
        """Show only that many bins."""
        self.room = [room[:bins] for room in self._room]
        self.cost, self.until, self.out = self._cost[:bins], self._until[:bins], self._out[:bins]

    def _rebuild_all(self) -> None:
        longest = max((len(items) for items in self.held), default=0)
        self._allocate(len(self.held), _rows(longest + SPARE))
        for place in range(len(self.held)):
            self._rebuild(place)

    def _rebuild(self, place: int) -> None:
        """Write the rows of one bin anew; of all, when there is no room for them."""
        count = len(self.held[place])
        if _rows(count) > self.rows:
            self._rebuild_all()
            return
        pattern = _pattern(count)
        rows = len(pattern)
        items = np.array([*self.held[place], self._none])
        if count > PAIRED:
            items[:count] = self._chance.permutation(items[:count])
        need = self._need[items]
        free = self._problem.free[self.homes[place]] - need.sum(axis=0)
        room = need[pattern].sum(axis=1) + free
        for resource, table in enumerate(self.room):
            table[place, :rows] = room[:, resource]
            table[place, rows:] = -1
        self.out[place, :rows] = items[pattern]
        self.cost[place, :rows] = self._size[items][pattern].sum(axis=1)
        self.until[place, :rows] = self._stays[items][pattern].max(axis=1)


def _rows(count: int) -> int:
    """How many rows a bin with that many items has."""
    paired = min(count, PAIRED)
    return 1 + count + paired * (paired - 1) // 2


@cache
def _pattern(count: int) -> IntArray:
    """[rows, 2]: the positions of the items that each row takes out; position `count` is no item."""
    rows = [(count, count), *((one, count) for one in range(count))]
    rows += combinations(range(min(count, PAIRED)), 2)
    return np.array(rows, np.int64)
