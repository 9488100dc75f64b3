"""A walk that looks for room in a fixed set of bins: items without a bin push others out, until all fit.

The items outside are kept few and small: of the moves looked at, the one after which least is outside is
made, a worse one now and then, and what went in has to stay for a while. A few bins are held in reserve: the
less is outside, the nearer it is to fitting into them, which tells more than the size of a last item does.

The fixed number of bins, the set of items outside and the tabu follow Buljubasic and Vasquez 2016 (Consistent
neighborhood search for one-dimensional bin packing and two-dimensional vector packing); pushing out pairs
follows Nagata and Braysy 2009 (A powerful route minimization heuristic).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from hpgreedy.placement.packing.budget import Budget
from hpgreedy.placement.packing.greedy import Groups
from hpgreedy.placement.packing.problem import BoolArray, FloatArray, IntArray, Problem
from hpgreedy.placement.packing.reserve import Reserve
from hpgreedy.placement.packing.table import Table

# Rows looked at in one round: beyond this a round takes longer than what it finds is worth.
WINDOW = 8_000
# For how many rounds an item has to stay, as parts of the number of items.
TENURE = (0.04, 0.12)
# How often two items that go into one bin together are looked at, too.
PAIRS = 0.5
# A move after which `more` is outside, in mean items, is made with probability exp(-more / WORSE).
WORSE = 0.15
# The reserve is tried when what is outside is this near to the least there was.
NEAR = 1.03


class Move(NamedTuple):
    """Items that go into one bin and the row of the table that makes room there."""

    more: float
    """What is then outside, less what is now."""
    place: int
    row: int
    items: tuple[int, ...]


class Walk:
    """A search in progress: the open bins, the reserve and the items outside.

    `sizes` says how much it counts that an item is outside.
    """

    def __init__(self, problem: Problem, sizes: FloatArray, seed: int) -> None:
        self._problem = problem
        self._chance = np.random.default_rng(seed)
        self._sizes = sizes
        self._needs: list[list[int]] = problem.need.tolist()
        self._kinds: list[int] = problem.kind.tolist()
        self._groups = Groups(problem)
        self._reserve = Reserve(problem, sizes, self._groups, self._chance)
        self._table = Table(problem, sizes, self._chance)
        self._now = 0
        self._outside: list[int] = []
        self._volume = self._least = 0.0

    def load(self, homes: IntArray, assignment: IntArray) -> None:
        """Start from an assignment; items in bins that are not among the open ones are outside."""
        place = {int(home): number for number, home in enumerate(homes)}
        held: list[list[int]] = [[] for _ in place]
        outside: list[int] = []
        for item, home in enumerate(assignment.tolist()):
            (held[place[home]] if home in place else outside).append(item)
        self._table.load(homes, held)
        self._now = 0
        self._reserve.clear()
        self._bins_changed(outside)

    def shrink(self, reserve: int) -> None:
        """Do without one bin more, with that many in reserve, as far as there are bins that were opened."""
        self._set_aside()
        self._reserve.drop_smallest()
        while len(self._reserve) < reserve and self._set_aside():
            pass

    def go_on(self, spare: int, budget: Budget, rounds: int) -> bool:
        """Walk until at most `spare` items have no bin; False when the rounds or the budget ended first."""
        for _ in range(rounds):
            if self._done(spare):
                return True
            if not budget.round():
                return False
            self._step()
        return self._done(spare)

    def assignment(self) -> IntArray:
        """[items]: each one's bin, in the reserve as it was filled last, or NOWHERE."""
        assignment = self._table.assignment()
        for item, home in self._reserve.held.items():
            assignment[item] = home
        return assignment

    def _set_aside(self) -> bool:
        """Move the opened bin that holds least to the reserve; False when no opened bin is left."""
        opened = [
            (float(self._sizes[items].sum()), place)
            for place, items in enumerate(self._table.held)
            if not self._problem.busy[self._table.homes[place]]
        ]
        if not opened:
            return False
        place = min(opened)[1]
        self._reserve.add(int(self._table.homes[place]))
        self._bins_changed(self._outside + self._table.close(place))
        return True

    def _bins_changed(self, outside: list[int]) -> None:
        """Begin to measure anew, after bins were opened or closed."""
        self._outside = outside
        self._volume = self._least = float(self._sizes[outside].sum())
        self._allowed = self._problem.allowed[:, self._table.homes]
        self._free_for_all = np.all(self._allowed, axis=1)

    def _done(self, spare: int) -> bool:
        """Whether at most that many items have neither a bin nor room in the reserve."""
        self._least = min(self._least, self._volume)
        if self._volume > self._least * NEAR:
            self._reserve.held = {}
            return len(self._outside) <= spare
        return self._reserve.fill(self._outside, spare)

    def _step(self) -> None:
        """Make the best of the moves looked at, unless it leaves too much outside."""
        self._now += 1
        window = self._window()
        first = self._drawn()
        moves = [self._best_move((first,), window)]
        if self._chance.random() < PAIRS and (second := self._drawn()) != first:
            moves.append(self._best_move((first, second), window))
        found = [move for move in moves if move is not None]
        if not found:
            return
        move = min(found)
        # The last item outside has to move on, or the walk stands still.
        patient = len(self._outside) > 1 and move.more > 0
        if patient and self._chance.random() >= math.exp(-move.more / WORSE):
            return
        stay = TENURE[0] + (TENURE[1] - TENURE[0]) * self._chance.random()
        until = self._now + 1 + int(stay * self._problem.items)
        for item in move.items:
            self._outside.remove(item)
        self._outside += self._table.exchange(move.place, move.items, move.row, until)
        self._volume += move.more

    def _drawn(self) -> int:
        """One of the items outside."""
        return self._outside[int(self._chance.random() * len(self._outside))]

    def _window(self) -> slice:
        """The bins to look at in this round: all, or when they are many a stretch of them."""
        bins = len(self._table.held)
        most = max(1, WINDOW // max(1, self._table.rows))
        if bins <= most:
            return slice(0, bins)
        start = int(self._chance.random() * (bins - most + 1))
        return slice(start, start + most)

    def _best_move(self, items: tuple[int, ...], window: slice) -> Move | None:
        """Where in the window the items go in while the least is pushed out."""
        need = [sum(amounts) for amounts in zip(*(self._needs[item] for item in items), strict=True)]
        fits = self._table.fitting(window, need, self._now)
        for item in items:
            if not self._free_for_all[self._kinds[item]]:
                fits &= self._allowed[self._kinds[item], window, None]
            if self._groups.of[item]:
                fits &= self._parted(item, window)
        if len(items) > 1 and self._groups.clash(*items):
            return None
        found = np.flatnonzero(fits)
        if not found.size:
            return None
        cost = self._table.cost[window].ravel()[found]
        least = float(cost.min())
        best = found[cost <= least * (1 + 1e-9)]
        place, row = divmod(int(best[int(self._chance.random() * best.size)]), self._table.rows)
        more = least - sum(float(self._sizes[item]) for item in items)
        return Move(more, place + window.start, row, items)

    def _parted(self, item: int, window: slice) -> BoolArray:
        """[bins of the window, rows]: after which rows no rival of the item is left in the bin."""
        rivals = np.append(self._groups.rivals(item), False)
        held = [sum(rivals[x] for x in items) for items in self._table.held[window]]
        out = rivals[self._table.out[window]].sum(axis=2)
        parted: BoolArray = out == np.array(held)[:, None]
        return parted
