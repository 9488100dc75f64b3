"""What holds for every packing, whatever the batch."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpgreedy.placement.packing import NOWHERE, Problem, Solution, fault, objective, pack, packing_problem
from hpgreedy.placement.packing.bounds import fewest_opened, fewest_unplaced
from hpgreedy.placement.packing.greedy import FOR_BINS, FOR_ITEMS, bin_by_bin, item_by_item
from hpgreedy.placement.packing.orders import orders


def packed(problem: Problem, rounds: int = 60, seed: int = 0, start: tuple[object, ...] = ()) -> Solution:
    return pack(problem, seconds=math.inf, clock=lambda: 0.0, rounds=rounds, seed=seed, start=start)


def singles(problem: Problem) -> list[np.ndarray]:
    """The answer of every heuristic by itself."""
    found = [
        item_by_item(problem, order, rule) for _, order in orders(problem) for rule in FOR_ITEMS.values()
    ]
    found += [bin_by_bin(problem, rule) for rule in FOR_BINS.values()]
    return [assignment for assignment in found if assignment is not None]


@st.composite
def problems(
    draw: st.DrawFn, items: int = 12, bins: int = 6, resources: int = 6, same: bool = False
) -> Problem:
    n, m = draw(st.integers(0, items)), draw(st.integers(1, bins))
    r, kinds = draw(st.integers(1, resources)), draw(st.integers(1, 3))

    def table(rows: int, columns: int, values: st.SearchStrategy) -> list:
        return draw(
            st.lists(st.lists(values, min_size=columns, max_size=columns), min_size=rows, max_size=rows)
        )

    free = table(1, r, st.integers(6, 12)) * m if same else table(m, r, st.integers(-2, 14))
    group = st.lists(st.integers(0, max(n - 1, 0)), min_size=2, max_size=4, unique=True)
    return packing_problem(
        need=np.array(table(n, r, st.integers(0, 9))).reshape(n, r),
        free=free,
        busy=[False] * m if same else draw(st.lists(st.booleans(), min_size=m, max_size=m)),
        kind=draw(st.lists(st.integers(0, kinds - 1), min_size=n, max_size=n)),
        allowed=table(kinds, m, st.sampled_from([True, True, True, False])),
        conflicts=draw(st.lists(group, max_size=3)) if n >= 4 else (),
    )


def optimum(problem: Problem) -> tuple[int, int]:
    """The best objective there is, by trying every assignment."""
    choices = product(range(NOWHERE, problem.bins), repeat=problem.items)
    tried = (np.array(choice, np.int64).reshape(problem.items) for choice in choices)
    return min(objective(problem, one) for one in tried if fault(problem, one) is None)


@given(problem=problems(), seed=st.integers(0, 3))
@settings(max_examples=150, deadline=None)
def test_no_answer_exceeds_a_bin_or_breaks_a_rule(problem: Problem, seed: int) -> None:
    solution = packed(problem, seed=seed)
    assert fault(problem, solution.bins) is None
    assert (solution.unplaced, solution.opened) == objective(problem, solution.bins)
    for assignment in singles(problem):
        assert fault(problem, assignment) is None


@given(problem=problems())
@settings(max_examples=60, deadline=None)
def test_the_answer_is_no_worse_than_any_heuristic_alone(problem: Problem) -> None:
    best = min(objective(problem, assignment) for assignment in singles(problem))
    solution = packed(problem, rounds=0)
    assert (solution.unplaced, solution.opened) <= best


@given(problem=problems(items=5, bins=3), data=st.data())
@settings(max_examples=60, deadline=None)
def test_the_answer_is_no_worse_than_what_it_was_given(problem: Problem, data: st.DataObject) -> None:
    bins = st.lists(st.integers(NOWHERE, problem.bins - 1), min_size=problem.items, max_size=problem.items)
    given_one = np.array(data.draw(bins), np.int64).reshape(problem.items)
    if fault(problem, given_one) is not None:
        with pytest.raises(ValueError, match=r"start\[0\] cannot be used"):
            packed(problem, start=(given_one,))
        return
    solution = packed(problem, rounds=0, start=(given_one,))
    assert (solution.unplaced, solution.opened) <= objective(problem, given_one)


@given(problem=problems(items=30, bins=12), seed=st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_with_a_limit_of_rounds_the_seed_decides_everything(problem: Problem, seed: int) -> None:
    one, other = packed(problem, seed=seed), packed(problem, seed=seed)
    assert one.bins.tolist() == other.bins.tolist()
    assert one.rounds == other.rounds <= 60


@given(problem=problems(items=6, bins=3, resources=3))
@settings(max_examples=60, deadline=None)
def test_small_batches_are_packed_as_well_as_can_be(problem: Problem) -> None:
    solution = packed(problem, rounds=3000)
    assert (solution.unplaced, solution.opened) == optimum(problem)


@given(problem=problems(items=6, bins=4, resources=3))
@settings(max_examples=100, deadline=None)
def test_no_packing_beats_the_bounds(problem: Problem) -> None:
    unplaced, opened = optimum(problem)
    assert fewest_unplaced(problem) <= unplaced
    if unplaced == 0:
        assert fewest_opened(problem) <= opened


@given(problem=problems(items=8, bins=4, resources=2, same=True))
@settings(max_examples=100, deadline=None)
def test_no_packing_into_equal_bins_beats_the_bounds(problem: Problem) -> None:
    solution = packed(problem)
    if solution.unplaced == 0:
        assert fewest_opened(problem) <= solution.opened
