"""Packing a batch: heuristics first, then a search that empties one bin after the other, until time is up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from hpgreedy.placement.packing.bounds import fewest_opened, fewest_unplaced
from hpgreedy.placement.packing.budget import Budget
from hpgreedy.placement.packing.greedy import FOR_BINS, FOR_ITEMS, bin_by_bin, item_by_item
from hpgreedy.placement.packing.orders import orders
from hpgreedy.placement.packing.problem import NOWHERE, IntArray, Problem, Solution, fault, objective
from hpgreedy.placement.packing.scale import counted, sizes
from hpgreedy.placement.packing.search import Walk

# The part of the time that heuristics may take before the search, and that may go into placing all items.
HEURISTICS, PLACING = 0.3, 0.5
# Rounds of the search without success before it begins again from the best packing, per item.
PATIENCE = 400
# The same while room is looked for, before the other notion of which items to leave out has its turn.
TURN = 20
# Bins that a search keeps empty until what is left over fits into them.
RESERVE = 2
# So many orders are tried with the first rule alone, before bins are filled one by one.
QUICK = 2


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
    passes = _passes(problem)
    name, run = next(passes)
    first = run(None)
    assert first is not None
    yield name, first
    for name, run in passes:
        found = run(over)
        if found is None:
            return
        yield name, found


def _passes(problem: Problem) -> Iterator[tuple[str, Callable[[Callable[[], bool] | None], IntArray | None]]]:
    """The heuristics' names and what runs them; the quickest first, then what is best with many items."""
    singles = [
        (f"{rule_name}, {order_name}", partial(item_by_item, problem, order, rule))
        for order_name, order in orders(problem)
        for rule_name, rule in FOR_ITEMS.items()
    ]
    early = singles[: QUICK * len(FOR_ITEMS) : len(FOR_ITEMS)]
    yield from early
    for name, rule in FOR_BINS.items():
        yield f"{name}, bin by bin", partial(bin_by_bin, problem, rule)
    yield from (single for single in singles if single not in early)


def _improve(problem: Problem, best: _Best, least: tuple[int, int], budget: Budget, seed: int) -> None:
    """Search, first for room for the items without a bin, then for bins to empty."""
    if best.value[0] > least[0]:
        placing = budget.part(PLACING)
        _place(problem, best, least[0], placing, seed)
        budget.spent(placing)
    patience = PATIENCE * max(problem.items, 50)
    walks = _walks(problem, seed)
    while best.value[1] > _fewest(best, least) and budget.round():
        walk = walks[0]
        if best.value[0]:
            walks.reverse()
        walk.load(_open_bins(problem, best.assignment), best.assignment)
        walk.shrink(RESERVE)
        while walk.go_on(best.value[0], budget, patience):
            best.offer(walk.assignment(), "search")
            if best.value[1] <= _fewest(best, least):
                return
            walk.shrink(RESERVE)


def _walks(problem: Problem, seed: int) -> list[Walk]:
    """One search that keeps large items out of the way last, and one that keeps them out first."""
    return [Walk(problem, sizes(problem), seed), Walk(problem, counted(problem), seed)]


def _fewest(best: _Best, least: tuple[int, int]) -> int:
    """The fewest bins that an assignment with as few items left over may open, as far as is known."""
    return least[1] if best.value[0] == 0 else 0


def _place(problem: Problem, best: _Best, least: int, budget: Budget, seed: int) -> None:
    """Look for room for items without a bin, with all bins open, until no more than `least` are left."""
    walks = _walks(problem, seed)
    while best.value[0] > least and budget.round():
        walk = walks[0]
        walks.reverse()
        walk.load(np.flatnonzero((problem.free >= 0).all(axis=1)), best.assignment)
        found = True
        while found and best.value[0] > least:
            # Many at once as long as many are left: to write down an answer takes longer than to find one.
            spare = best.value[0] - max(1, best.value[0] // 50)
            found = walk.go_on(max(spare, least), budget, TURN * problem.items)
            best.offer(walk.assignment(), "search")


def _open_bins(problem: Problem, assignment: IntArray) -> IntArray:
    """The bins that cost nothing more: in use before, or by the assignment."""
    usable = (problem.free >= 0).all(axis=1)
    used = np.zeros(problem.bins, np.bool_)
    used[assignment[assignment != NOWHERE]] = True
    return np.flatnonzero((used | problem.busy) & usable)
