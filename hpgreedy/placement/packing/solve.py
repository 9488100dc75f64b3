"""Packing a batch: heuristics first, then a search that empties one bin after the other, until time is up."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from hpgreedy.placement.packing.bounds import fewest_opened, fewest_unplaced
from hpgreedy.placement.packing.budget import Budget
from hpgreedy.placement.packing.greedy import FOR_BINS, FOR_ITEMS, bin_by_bin, item_by_item
from hpgreedy.placement.packing.orders import orders
from hpgreedy.placement.packing.problem import NOWHERE, IntArray, Problem, Solution, fault, objective
from hpgreedy.placement.packing.scale import sizes
from hpgreedy.placement.packing.search import Walk

# The part of the time that heuristics may take before the search, and that may go into placing all items.
HEURISTICS, PLACING = 0.1, 0.5
# Rounds of the search without success before it begins again from the best packing, per item.
PATIENCE = 400


class _Best:
    """The best assignment so far, how good it is and who found it."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self.assignment = np.full(problem.items, NOWHERE, np.int64)
        self.value = objective(problem, self.assignment)
        self.found_by = "nobody"

    def offer(self, assignment: IntArray, found_by: str) -> None:
        """Take the assignment if it is better."""
        value = objective(self._problem, assignment)
        if value < self.value:
            self.assignment, self.value, self.found_by = assignment.copy(), value, found_by


def pack(
    problem: Problem,
    *,
    seconds: float,
    clock: Callable[[], float],
    seed: int = 0,
    rounds: int | None = None,
    start: Sequence[npt.ArrayLike] = (),
) -> Solution:
    """Place as many items as can be in as few new bins as can be, within about `seconds` of `clock`.

    The answer is never worse than any of `start`. With a limit of rounds and seconds=math.inf the seed alone
    decides the answer. Raises ValueError when a given assignment breaks a rule.
    """
    budget = Budget(clock, seconds, rounds)
    best = _Best(problem)
    for number, given in enumerate(start):
        assignment = np.array(given, np.int64)
        wrong = fault(problem, assignment)
        if wrong is not None:
            raise ValueError(f"start[{number}] cannot be used: {wrong}")
        best.offer(assignment, f"start[{number}]")
    least = (fewest_unplaced(problem), fewest_opened(problem))
    for name, found in _heuristics(problem, budget.share(HEURISTICS)):
        best.offer(found, name)
        if best.value <= (0, least[1]):
            break
    _improve(problem, best, least, budget, seed)
    best.assignment.flags.writeable = False
    return Solution(
        bins=best.assignment,
        unplaced=best.value[0],
        opened=best.value[1],
        bound=least[1],
        found_by=best.found_by,
        rounds=budget.used,
    )


def _heuristics(problem: Problem, over: Callable[[], bool]) -> Iterator[tuple[str, IntArray]]:
    """Each heuristic's name and answer: the first one's in any case, then as many as there is time for."""
    late: Callable[[], bool] | None = None
    for order_name, order in orders(problem):
        for rule_name, rule in FOR_ITEMS.items():
            found = item_by_item(problem, order, rule, late)
            if found is None:
                return
            yield f"{rule_name}, {order_name} first", found
            late = over
    for rule_name, rule in FOR_BINS.items():
        found = bin_by_bin(problem, rule, over)
        if found is None:
            return
        yield f"{rule_name}, bin by bin", found


def _improve(problem: Problem, best: _Best, least: tuple[int, int], budget: Budget, seed: int) -> None:
    """Search, first for room for the items without a bin, then for bins to empty."""
    walk = Walk(problem, sizes(problem), seed)
    if best.value[0] > least[0]:
        placing = budget.part(PLACING)
        _place(problem, walk, best, least[0], placing)
        budget.spent(placing)
    patience = PATIENCE * max(problem.items, 50)
    while best.value[1] > max(0, least[1] if best.value[0] == 0 else 0):
        homes = _open_bins(problem, best.assignment)
        walk.load(homes, best.assignment)
        walk.close(_emptiest(problem, walk))
        while walk.go_on(best.value[0], budget, patience):
            best.offer(walk.table.assignment(), "search")
            if best.value[0] == 0 and best.value[1] <= least[1]:
                return
            walk.close(_emptiest(problem, walk))
        if not budget.round():
            return


def _place(problem: Problem, walk: Walk, best: _Best, least: int, budget: Budget) -> None:
    """Look for room for items without a bin, with all bins open, until no more than `least` are left."""
    walk.load(np.flatnonzero((problem.free >= 0).all(axis=1)), best.assignment)
    while best.value[0] > least and walk.go_on(best.value[0] - 1, budget, PATIENCE * problem.items):
        best.offer(walk.table.assignment(), "search")


def _open_bins(problem: Problem, assignment: IntArray) -> IntArray:
    """The bins that cost nothing more: in use before, or by the assignment."""
    usable = (problem.free >= 0).all(axis=1)
    used = np.zeros(problem.bins, np.bool_)
    used[assignment[assignment != NOWHERE]] = True
    return np.flatnonzero((used | problem.busy) & usable)


def _emptiest(problem: Problem, walk: Walk) -> int:
    """The place of the opened bin that holds least."""
    size = sizes(problem)
    fill = [
        math.inf if problem.busy[home] else float(size[items].sum())
        for home, items in zip(walk.table.homes.tolist(), walk.table.held, strict=True)
    ]
    return int(np.argmin(fill))
