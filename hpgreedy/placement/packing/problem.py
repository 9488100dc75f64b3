"""A batch to be packed and what came of it, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Scalar = TypeVar("Scalar", np.int64, np.bool_)

NOWHERE = -1
# Sums of what one bin holds, and differences of two amounts, stay within 64 bits below this.
LARGEST = 2**60


class Problem(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Items that want room, and bins that have some; made by `packing_problem`, which checks it.

    A bin that is short of a resource (`free` below 0) takes nothing at all.
    """

    need: IntArray
    """[items, resources]: what each item takes."""
    free: IntArray
    """[bins, resources]: what each bin has free."""
    busy: BoolArray
    """[bins]: the bin is in use already, so using it costs nothing."""
    kind: IntArray
    """[items]: the row of `allowed` that holds for the item."""
    allowed: BoolArray
    """[kinds, bins]: which bins may take items of the kind."""
    conflicts: tuple[tuple[int, ...], ...]
    """Groups of items of which no two may share a bin."""

    @property
    def items(self) -> int:
        """How many items there are."""
        return len(self.need)

    @property
    def bins(self) -> int:
        """How many bins there are."""
        return len(self.free)

    @property
    def resources(self) -> int:
        """How many resources each item and bin has."""
        return int(self.need.shape[1])


class Solution(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Where each item goes; never more than the bins have free, nor against a rule."""

    bins: IntArray
    """[items]: the item's bin, or NOWHERE."""
    unplaced: int
    """Items that found no bin."""
    opened: int
    """Bins that were not in use and are now."""
    bound: int
    """No solution that places all items opens fewer bins than this."""
    found_by: str
    """Which heuristic, given assignment or search found it."""
    rounds: int
    """Steps of the search that were made."""

    @property
    def proved(self) -> bool:
        """Whether no solution can be better: all items placed, in as few bins as the bound says."""
        return self.unplaced == 0 and self.opened <= self.bound


def packing_problem(
    *,
    need: npt.ArrayLike,
    free: npt.ArrayLike,
    busy: npt.ArrayLike | None = None,
    kind: npt.ArrayLike | None = None,
    allowed: npt.ArrayLike | None = None,
    conflicts: Sequence[Sequence[int]] = (),
) -> Problem:
    """The checked problem; by default no bin is busy and every bin may take every item.

    Raises ValueError, with a sentence, when shapes do not fit together or an amount is out of range.
    """
    needs, frees = _amounts("need", need, 0), _amounts("free", free, -LARGEST)
    # Without any item (or bin) there is nothing to tell the number of resources by.
    if not len(needs):
        needs = needs.reshape(0, frees.shape[1])
    elif not len(frees):
        frees = frees.reshape(0, needs.shape[1])
    items, bins = len(needs), len(frees)
    problem = Problem(
        need=_frozen(needs),
        free=_frozen(frees),
        busy=_frozen(np.zeros(bins, np.bool_) if busy is None else np.array(busy, np.bool_)),
        kind=_frozen(np.zeros(items, np.int64) if kind is None else np.array(kind, np.int64)),
        allowed=_frozen(np.ones((1, bins), np.bool_) if allowed is None else np.array(allowed, np.bool_)),
        conflicts=tuple(tuple(sorted({int(item) for item in group})) for group in conflicts),
    )
    _check(problem)
    return problem


def objective(problem: Problem, assignment: IntArray) -> tuple[int, int]:
    """(items without a bin, bins newly opened): smaller is better, the first before the second."""
    used = np.unique(assignment[assignment != NOWHERE])
    return int(np.count_nonzero(assignment == NOWHERE)), int(np.count_nonzero(~problem.busy[used]))


def fault(problem: Problem, assignment: IntArray) -> str | None:
    """What an assignment breaks, as a sentence; None when it keeps every rule."""
    if assignment.shape != (problem.items,):
        return f"the assignment has the shape {assignment.shape}, right is ({problem.items},)"
    if assignment.size and not (assignment.min() >= NOWHERE and assignment.max() < problem.bins):
        return f"the assignment names a bin outside of {NOWHERE}..{problem.bins - 1}"
    placed = np.flatnonzero(assignment != NOWHERE)
    home = assignment[placed]
    held = np.zeros_like(problem.free)
    np.add.at(held, home, problem.need[placed])
    over = np.flatnonzero((held > problem.free).any(axis=1) & np.isin(np.arange(problem.bins), home))
    if over.size:
        return (
            f"bin {over[0]} is given {held[over[0]].tolist()} and has {problem.free[over[0]].tolist()} free"
        )
    barred = placed[~problem.allowed[problem.kind[placed], home]]
    if barred.size:
        return f"item {barred[0]} is in bin {assignment[barred[0]]}, which may not take it"
    for group in problem.conflicts:
        homes = [int(assignment[item]) for item in group if assignment[item] != NOWHERE]
        if len(set(homes)) < len(homes):
            return f"two items of {group}, which are to be apart, share a bin"
    return None


def _check(problem: Problem) -> None:
    """Raise ValueError when the parts of a problem do not fit together."""
    items, bins = problem.items, problem.bins
    if problem.need.shape[1] != problem.free.shape[1]:
        raise ValueError(
            f"need has {problem.need.shape[1]} resources and free has {problem.free.shape[1]}: "
            "give both the same resources, in the same order"
        )
    shapes = {"busy": (problem.busy.shape, (bins,)), "kind": (problem.kind.shape, (items,))}
    for name, (shape, right) in shapes.items():
        if shape != right:
            raise ValueError(f"{name} has the shape {shape}, right is {right}")
    if problem.allowed.ndim != 2 or problem.allowed.shape[1] != bins:
        raise ValueError(f"allowed has the shape {problem.allowed.shape}, right is (kinds, {bins})")
    _within("kind", problem.kind, 0, problem.allowed.shape[0] - 1)
    _within("conflicts", np.array([i for group in problem.conflicts for i in group], np.int64), 0, items - 1)


def _amounts(name: str, values: npt.ArrayLike, low: int) -> IntArray:
    """The table; ValueError unless it holds whole numbers in low..LARGEST, in rows of one length."""
    table = np.array(values)
    if not table.size:
        return np.zeros(table.shape if table.ndim == 2 else (0, 0), np.int64)
    if table.ndim != 2:
        raise ValueError(
            f"{name} has the shape {table.shape}, right is one row each, with one column a resource"
        )
    if table.dtype.kind not in "iu":
        raise ValueError(
            f"{name} holds numbers of type {table.dtype}, right are whole numbers up to {LARGEST}"
        )
    _within(name, table, low, LARGEST)
    return table.astype(np.int64)


def _within(name: str, values: IntArray, low: int, high: int) -> None:
    """Raise ValueError unless all values are in low..high."""
    wrong = values[(values < low) | (values > high)]
    if wrong.size:
        raise ValueError(f"{name} holds {wrong[0]}, right is {low} to {high}")


def _frozen(array: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
    """The array, which nobody can write to any more."""
    array.flags.writeable = False
    return array
