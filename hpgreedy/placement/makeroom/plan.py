"""What a search for room is limited by, and what it finds."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from hpgreedy.placement.decision import Move


def no_clock() -> float:
    """A clock that stands still: the search is limited by its depth and its effort alone."""
    return 0.0


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a search may take: chains of up to `depth` moves, `seconds` by `clock` (monotonic), and `effort`,
    which counts the chains that are looked at and so ends every search at the same point each time. For a
    batch that is packed as a whole: `packing_seconds`, and `packing_rounds`, the steps of that search.
    """

    depth: int = 2
    seconds: float = 0.5
    clock: Callable[[], float] = no_clock
    effort: int = 10_000
    packing_seconds: float = 8.0
    packing_rounds: int = 250_000


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The moves in an order in which each fits when its turn comes, and the VM's place after them."""

    host: str
    moves: tuple[Move, ...]
    numa_nodes: tuple[int, ...] = ()
    why: str


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """What a search has found.

    complete: all chains of up to `depth` moves are covered: without a plan none of them makes room, and with
    one none is cheaper (less memory to move, then fewer moves). Without a plan `depth` is below the limit
    when the time was up among the longer ones. runner_up: another host where room could be made, where one
    is known.
    """

    plan: Plan | None
    depth: int
    complete: bool
    runner_up: str | None = None
