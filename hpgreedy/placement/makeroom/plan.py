"""What a search for room is limited by, and what it finds."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from hpgreedy.placement.decision import Move


def no_clock() -> float:
    """A clock that stands still: the search is limited by its depth alone."""
    return 0.0


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """depth: the most moves of a chain. seconds: how long may be searched, by `clock` (monotonic)."""

    depth: int = 2
    seconds: float = 2.0
    clock: Callable[[], float] = no_clock


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The moves in an order in which each fits when its turn comes, and the VM's place after them."""

    host: str
    moves: tuple[Move, ...]
    numa_nodes: tuple[int, ...] = ()
    why: str


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """What a search has found. depth: chains of at most so many moves were searched, all of them when
    `complete`. runner_up: another host where room could be made, where one is known.
    """

    plan: Plan | None
    depth: int
    complete: bool
    runner_up: str | None = None
