"""A walk that looks for room in a fixed set of bins: items without a bin push others out, until all fit.

The items outside are kept few and small: one goes in where what it pushes out is smallest, and then has to
stay for a while (tabu). The fixed number of bins and the set of items outside follow Buljubasic and Vasquez
2016 (Consistent neighborhood search for one-dimensional bin packing and two-dimensional vector packing);
pushing out pairs follows Nagata and Braysy 2009 (A powerful route minimization heuristic).
"""

from __future__ import annotations

import numpy as np

from hpgreedy.placement.packing.budget import Budget
from hpgreedy.placement.packing.greedy import Groups
from hpgreedy.placement.packing.problem import BoolArray, FloatArray, IntArray, Problem
from hpgreedy.placement.packing.table import Table, fitting

# Rows looked at in one round: beyond this a round takes longer than what it finds is worth.
WINDOW = 30_000
# For how many rounds an item has to stay, as parts of the number of items.
TENURE = (0.04, 0.12)


class Walk:
    """A search in progress: the open bins and the items outside."""

    def __init__(self, problem: Problem, sizes: FloatArray, seed: int) -> None:
        self._problem = problem
        self._chance = np.random.default_rng(seed)
        self._sizes = sizes
        self._needs: list[list[int]] = problem.need.tolist()
        self._kinds: list[int] = problem.kind.tolist()
        self._groups = Groups(problem)
        self._now = 0
        self.table = Table(problem, sizes, self._chance)
        self.outside: list[int] = []

    def load(self, homes: IntArray, assignment: IntArray) -> None:
        """Start from an assignment; items in bins that are not among the open ones are outside."""
        place = {int(home): number for number, home in enumerate(homes)}
        held: list[list[int]] = [[] for _ in place]
        self.outside = []
        for item, home in enumerate(assignment.tolist()):
            (held[place[home]] if home in place else self.outside).append(item)
        self.table.load(homes, held)
        self._now = 0
        self._allowed = self._problem.allowed[:, self.table.homes]
        self._free_for_all = np.all(self._allowed, axis=1)

    def close(self, place: int) -> None:
        """Close an open bin; what it held is outside."""
        self.outside += self.table.close(place)
        self._allowed = self._problem.allowed[:, self.table.homes]

    def go_on(self, spare: int, budget: Budget, rounds: int) -> bool:
        """Walk until at most `spare` items are outside; False when the rounds or the budget ended first."""
        for _ in range(rounds):
            if len(self.outside) <= spare:
                return True
            if not budget.round():
                return False
            self._step()
        return len(self.outside) <= spare

    def _step(self) -> None:
        """Let one item in, at the place where what it pushes out is smallest."""
        self._now += 1
        item = self.outside.pop(int(self._chance.random() * len(self.outside)))
        window = self._window()
        fits = fitting(self.table, window, self._needs[item], self._now)
        if not self._free_for_all[self._kinds[item]]:
            fits &= self._allowed[self._kinds[item], window, None]
        if self._groups.of[item]:
            fits &= self._parted(item, window)
        found = np.flatnonzero(fits)
        if not found.size:
            self.outside.append(item)
            return
        cost = self.table.cost[window].ravel()[found]
        best = found[cost <= cost.min() * (1 + 1e-9)]
        place, row = divmod(int(best[int(self._chance.random() * best.size)]), self.table.rows)
        stay = (TENURE[0] + (TENURE[1] - TENURE[0]) * self._chance.random()) * self._problem.items
        self.outside += self.table.exchange(place + window.start, item, row, self._now + int(stay))

    def _window(self) -> slice:
        """The bins to look at in this round: all, or when they are many a stretch of them."""
        bins = len(self.table.held)
        most = max(1, WINDOW // max(1, self.table.rows))
        if bins <= most:
            return slice(0, bins)
        start = int(self._chance.random() * (bins - most + 1))
        return slice(start, start + most)

    def _parted(self, item: int, window: slice) -> BoolArray:
        """[bins of the window, rows]: after which rows no rival of the item is left in the bin."""
        rivals = np.append(self._groups.rivals(item), False)
        held = [sum(rivals[x] for x in items) for items in self.table.held[window]]
        out = rivals[self.table.out[window]].sum(axis=2)
        parted: BoolArray = out == np.array(held)[:, None]
        return parted
