"""The parts of the packing solver, one by one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import count

import numpy as np
import pytest

from hpgreedy.placement.packing import NOWHERE, Problem, fault, objective, pack, packing_problem
from hpgreedy.placement.packing.bounds import fewest_opened, fewest_unplaced
from hpgreedy.placement.packing.budget import Budget
from hpgreedy.placement.packing.greedy import FOR_BINS, FOR_ITEMS, bin_by_bin, item_by_item


def cut(bins: int, pieces: int, resources: int, seed: int, room: int = 1000) -> Problem:
    """A batch with a known optimum: full bins, each cut into that many items; three bins too many."""
    chance = np.random.default_rng(seed)
    need = []
    for _ in range(bins):
        cuts = np.sort(chance.integers(0, room + 1, (pieces - 1, resources)), axis=0)
        need += np.diff(cuts, axis=0, prepend=0, append=room).tolist()
    return packing_problem(need=need, free=[[room] * resources] * (bins + 3))


def in_order(problem: Problem, rule: str) -> list[int]:
    found = item_by_item(problem, np.arange(problem.items), FOR_ITEMS[rule])
    assert found is not None
    return found.tolist()


@pytest.mark.parametrize(("resources", "pieces", "room"), [(1, 4, 60), (2, 3, 1000), (3, 2, 1000), (6, 2, 9)])
def test_bins_cut_into_pieces_are_put_together_again(resources: int, pieces: int, room: int) -> None:
    problem = cut(12, pieces, resources, seed=resources, room=room)
    solution = pack(problem, seconds=math.inf, clock=lambda: 0.0, rounds=20_000)
    assert (solution.unplaced, solution.opened, solution.bound) == (0, 12, 12)
    assert solution.proved


def test_the_search_finds_what_no_heuristic_does() -> None:
    problem = cut(20, 3, 3, seed=5)
    before = pack(problem, seconds=math.inf, clock=lambda: 0.0, rounds=0)
    after = pack(problem, seconds=math.inf, clock=lambda: 0.0, rounds=4_000)
    assert after.opened < before.opened
    assert after.found_by == "search"
    assert fault(problem, after.bins) is None


def test_a_proved_answer_takes_no_rounds() -> None:
    problem = packing_problem(need=[[6], [6], [4], [4]], free=[[10]] * 4)
    solution = pack(problem, seconds=math.inf, clock=lambda: 0.0)
    assert (solution.opened, solution.rounds) == (2, 0)


def test_the_search_ends_with_the_seconds_of_its_clock() -> None:
    ticks: Iterator[int] = count()
    problem = cut(20, 3, 1, seed=6, room=10**9)
    solution = pack(problem, seconds=500, clock=lambda: float(next(ticks)))
    assert fault(problem, solution.bins) is None
    assert 0 < next(ticks) - 500 < 100


def test_a_budget_ends_with_its_rounds_and_its_parts_count() -> None:
    budget = Budget(lambda: 0.0, math.inf, rounds=10)
    half = budget.part(0.5)
    assert sum(half.round() for _ in range(20)) == 5
    budget.spent(half)
    assert sum(budget.round() for _ in range(20)) == 5


def test_busy_bins_are_used_before_others_are_opened() -> None:
    problem = packing_problem(need=[[4], [4], [4]], free=[[12], [8], [4]], busy=[False, True, True])
    solution = pack(problem, seconds=math.inf, clock=lambda: 0.0, rounds=100)
    assert (solution.unplaced, solution.opened) == (0, 0)


def test_the_larger_bins_are_opened_when_one_does() -> None:
    problem = packing_problem(need=[[2]] * 6, free=[[4], [4], [4], [12]])
    solution = pack(problem, seconds=math.inf, clock=lambda: 0.0, rounds=100)
    assert set(solution.bins.tolist()) == {3}


def test_small_items_go_in_where_not_all_can() -> None:
    problem = packing_problem(need=[[8], [4], [4], [1]], free=[[12]])
    solution = pack(problem, seconds=math.inf, clock=lambda: 0.0, rounds=100)
    assert solution.bins.tolist() == [NOWHERE, 0, 0, 0]
    assert not solution.proved


def test_items_apart_swap_places_to_make_room() -> None:
    apart = [(0, 1), (2, 3)]
    problem = packing_problem(need=[[3, 1], [3, 1], [1, 3], [1, 3]], free=[[4, 4]] * 4, conflicts=apart)
    start = np.array([0, 1, 2, 3])
    solution = pack(problem, seconds=math.inf, clock=lambda: 0.0, rounds=500, start=(start,))
    assert solution.opened == 2
    assert fault(problem, solution.bins) is None


def test_a_bin_that_is_short_of_something_takes_nothing() -> None:
    problem = packing_problem(need=[[0, 1], [0, 1]], free=[[-1, 9], [0, 1]])
    solution = pack(problem, seconds=math.inf, clock=lambda: 0.0, rounds=50)
    assert sorted(solution.bins.tolist()) == [NOWHERE, 1]


@pytest.mark.parametrize(("items", "bins", "resources"), [(0, 0, 2), (0, 3, 2), (3, 0, 2), (3, 2, 0)])
def test_nothing_to_place_or_nowhere_to_place_it(items: int, bins: int, resources: int) -> None:
    problem = packing_problem(need=np.ones((items, resources), int), free=np.ones((bins, resources), int))
    solution = pack(problem, seconds=math.inf, clock=lambda: 0.0, rounds=50)
    assert solution.unplaced == (0 if bins else items)
    assert solution.opened == (1 if bins and items else 0)


def test_amounts_in_bytes_are_counted_to_the_last_one() -> None:
    room = 2**50 + 1
    problem = packing_problem(need=[[room // 2 + 1], [room // 2]] * 8, free=[[room]] * 16)
    solution = pack(problem, seconds=math.inf, clock=lambda: 0.0, rounds=2_000)
    assert (solution.opened, solution.bound) == (8, 8)
    tight = packing_problem(need=[[room // 2 + 1]] * 4, free=[[room]] * 4)
    assert pack(tight, seconds=math.inf, clock=lambda: 0.0, rounds=50).opened == 4


def test_best_fit_leaves_least_and_first_fit_goes_in_order() -> None:
    problem = packing_problem(need=[[5], [6], [4]], free=[[10], [10]], busy=[True, True])
    assert in_order(problem, "first fit") == [0, 1, 0]
    assert in_order(problem, "best fit") == [0, 1, 1]


def test_norm_and_dot_product_look_at_the_shape() -> None:
    free = [[8, 8], [2, 8]]
    problem = packing_problem(need=[[2, 7]], free=free, busy=[True, True])
    assert in_order(problem, "norm") == [1]
    assert in_order(problem, "dot product") == [1]


def test_bin_by_bin_fills_a_bin_before_the_next() -> None:
    problem = packing_problem(need=[[9], [5], [4], [1], [1]], free=[[10], [10]])
    for rule in FOR_BINS.values():
        found = bin_by_bin(problem, rule)
        assert found is not None
        assert found.tolist() == [0, 1, 1, 0, 1]


@pytest.mark.parametrize(
    ("need", "room", "bound"),
    [
        ([[5]] * 5, [10], 3),
        ([[6]] * 4, [10], 4),
        ([[4]] * 4, [10], 2),
        ([[7, 3], [3, 7], [7, 3], [3, 7]], [10, 10], 2),
        ([[7, 3], [3, 8]] * 4, [10, 10], 8),
        ([[6, 1], [1, 6], [1, 6]], [10, 10], 2),
    ],
)
def test_bounds_of_equal_bins(need: list[list[int]], room: list[int], bound: int) -> None:
    assert fewest_opened(packing_problem(need=need, free=[room] * 9)) == bound


def test_three_thirds_need_no_more_than_a_bin() -> None:
    problem = packing_problem(need=[[1, 2], [1, 2], [1, 2]], free=[[3, 6]] * 3)
    assert fewest_opened(problem) == 1


def test_bounds_count_what_is_in_use_and_who_is_apart() -> None:
    apart = packing_problem(need=[[1]] * 4, free=[[10]] * 5, conflicts=[(0, 1, 2, 3)])
    assert fewest_opened(apart) == 4
    half = packing_problem(need=[[5]] * 4, free=[[10]] * 3, busy=[True, False, False])
    assert fewest_opened(half) == 1


def test_items_that_cannot_all_go_in_are_counted() -> None:
    assert fewest_unplaced(packing_problem(need=[[4]] * 5, free=[[10], [5]])) == 2
    assert fewest_unplaced(packing_problem(need=[[7], [1]], free=[[6], [6]])) == 1
    barred = packing_problem(need=[[1], [1]], free=[[9]], kind=[0, 1], allowed=[[True], [False]])
    assert fewest_unplaced(barred) == 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"need": [[1, 2]]}, "need has 2 resources and free has 1"),
        ({"need": [[-1]]}, "need holds -1, right is 0 to"),
        ({"need": [[2**61]]}, "need holds 2305843009213693952"),
        ({"need": [[10**30]]}, "need holds numbers of type object"),
        ({"need": [[0.5]]}, "need holds numbers of type float64"),
        ({"need": [1]}, r"need has the shape \(1,\)"),
        ({"busy": [True]}, r"busy has the shape \(1,\), right is \(2,\)"),
        ({"kind": [0, 0]}, r"kind has the shape \(2,\), right is \(1,\)"),
        ({"kind": [1]}, "kind holds 1, right is 0 to 0"),
        ({"allowed": [True, True]}, r"allowed has the shape \(2,\)"),
        ({"conflicts": [(0, 4)]}, "conflicts holds 4, right is 0 to 0"),
    ],
)
def test_a_wrong_problem_is_refused_with_a_sentence(change: dict, sentence: str) -> None:
    parts = {"need": [[1]], "free": [[2], [2]], **change}
    with pytest.raises(ValueError, match=sentence):
        packing_problem(**parts)


def test_a_problem_cannot_be_written_to() -> None:
    need = np.array([[1]])
    problem = packing_problem(need=need, free=[[2]])
    need[0, 0] = 9
    assert problem.need.tolist() == [[1]]
    with pytest.raises(ValueError, match="read-only"):
        problem.need[0, 0] = 3


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ([0, 0, 1], "bin 0 is given"),
        ([0, 1, 2], "outside of -1..1"),
        ([0, 1], "has the shape"),
        ([1, -1, 1], "are to be apart"),
        ([-1, 1, -1], "may not take it"),
        ([0, -1, 1], None),
    ],
)
def test_faults_of_an_assignment(assignment: list[int], sentence: str | None) -> None:
    problem = packing_problem(
        need=[[3], [3], [2]],
        free=[[5], [5]],
        kind=[0, 1, 0],
        allowed=[[True, True], [True, False]],
        conflicts=[(0, 2)],
    )
    found = fault(problem, np.array(assignment))
    assert found is None if sentence is None else sentence in (found or "")


def test_the_objective_counts_the_unplaced_and_the_newly_opened() -> None:
    problem = packing_problem(need=[[1]] * 4, free=[[9]] * 3, busy=[True, False, False])
    assert objective(problem, np.array([0, 1, 1, NOWHERE])) == (1, 1)
