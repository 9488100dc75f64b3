"""The packed algorithm: a whole batch at once, on as few hosts as can be found in the time there is.

First the other algorithms place the batch, in the order given and the largest first, best fit before all
others and each of them as long as half the time is not over; the best of these is where the search begins, so
the answer is never worse than theirs. VMs with rules about other VMs, soft rules or NUMA
nodes stay where that best one has put them. The others are packed around them by `packing`, which knows
capacities and which host may take which VM.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import msgspec
import numpy as np

from hpgreedy.model import Claim, Demand
from hpgreedy.placement.algorithms import ALGORITHMS, Algorithm
from hpgreedy.placement.algorithms.best_fit import BEST_FIT
from hpgreedy.placement.constraints import had_they_room
from hpgreedy.placement.fleet import Fleet
from hpgreedy.placement.fleet.masks import positions
from hpgreedy.placement.packing import NOWHERE, Problem, pack, packing_problem
from hpgreedy.placement.question import Question

SINGLES = 0.5
"""The part of the time in which the other algorithms may place the batch."""
ROUNDS_EACH = 10_000
"""Steps of the search for each VM after which even a small batch that cannot be bettered is let be."""


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    """How long may be searched: `seconds` of `clock` (monotonic), and at most so many steps."""

    seconds: float
    rounds: int
    clock: Callable[[], float]


class Spot(msgspec.Struct, frozen=True):
    """The demand of that number in the batch goes to the host at `position`."""

    number: int
    position: int


def packed(
    fleet: Fleet, demands: Sequence[Demand], *, seed: int, last: str | None, effort: Effort
) -> tuple[Spot, ...]:
    """Places for as many of the demands as can be, in an order in which each is taken when its turn comes.

    The fleet is as it was afterwards. The same arguments give the same answer as far as the clock allows.
    """
    begun = effort.clock()
    batch = _Batch(fleet, demands, seed, last)
    best = batch.best_single(lambda: effort.clock() - begun > effort.seconds * SINGLES)
    if len(demands) == 1:
        return best
    bound = tuple(spot for spot in best if not _simple(demands[spot.number]))
    batch.hold(bound)
    try:
        left = max(0.0, effort.seconds - (effort.clock() - begun))
        return (*bound, *batch.packed_around(best, msgspec.structs.replace(effort, seconds=left)))
    finally:
        batch.release(bound)


def _never() -> bool:
    return False


def _simple(demand: Demand) -> bool:
    """Whether only room and what hosts are decide where it can go."""
    rules = demand.rules
    return demand.group is None and not demand.numa and all(rule.hard and rule.of_hosts for rule in rules)


class _Batch:
    """The demands, and the fleet in which they are tried; what is held is released again."""

    def __init__(self, fleet: Fleet, demands: Sequence[Demand], seed: int, last: str | None) -> None:
        self._fleet, self._demands = fleet, demands
        self._seed, self._last = seed, last

    def best_single(self, late: Callable[[], bool]) -> tuple[Spot, ...]:
        """The best that one algorithm alone makes of the batch: most VMs placed, then fewest hosts opened."""
        numbers: Sequence[int] = range(len(self._demands))
        largest_first = sorted(numbers, key=lambda n: -self._size(self._demands[n]))
        others = [each for each in ALGORITHMS.values() if not each.batch and each is not BEST_FIT]
        first = [(largest_first, BEST_FIT), (numbers, BEST_FIT)]
        best: tuple[tuple[int, int], tuple[Spot, ...]] | None = None
        for order, algorithm in (*first, *product((numbers, largest_first), others)):
            spots = self._single(order, algorithm, _never if best is None else late)
            if spots is None:
                break
            opened = {spot.position for spot in spots if not self._fleet.count(spot.position)}
            value = (-len(spots), len(opened))
            if best is None or value < best[0]:
                best = (value, spots)
        return () if best is None else best[1]

    def packed_around(self, best: tuple[Spot, ...], effort: Effort) -> tuple[Spot, ...]:
        """The simple ones, packed around what is held; never worse than where `best` has them."""
        free = [n for n, demand in enumerate(self._demands) if _simple(demand)]
        row = {number: n for n, number in enumerate(free)}
        start = np.full(len(free), NOWHERE, dtype=np.int64)
        for spot in best:
            if spot.number in row:
                start[row[spot.number]] = spot.position
        found = pack(
            self._problem([self._demands[n] for n in free]),
            seconds=effort.seconds,
            clock=effort.clock,
            seed=self._seed,
            rounds=min(effort.rounds, ROUNDS_EACH * len(free)),
            start=(start,),
        )
        return tuple(Spot(free[n], int(where)) for n, where in enumerate(found.bins) if where != NOWHERE)

    def hold(self, spots: Sequence[Spot]) -> None:
        """They stand there."""
        for spot in spots:
            demand = self._demands[spot.number]
            nodes = self._fleet.nodes[spot.position].place(demand) if demand.numa else None
            host = self._fleet.hosts[spot.position].key
            self._fleet.add(Claim(demand=demand, host=host, numa_nodes=nodes or ()))

    def release(self, spots: Sequence[Spot]) -> None:
        """They stand there no more."""
        for spot in reversed(spots):
            self._fleet.remove(self._demands[spot.number].key, self._fleet.hosts[spot.position].key)

    def _single(
        self, order: Sequence[int], algorithm: Algorithm, late: Callable[[], bool]
    ) -> tuple[Spot, ...] | None:
        """What the algorithm makes of the batch; None when it is too late for that."""
        spots: list[Spot] = []
        last = self._last
        for number in order:
            if late():
                self.release(spots)
                return None
            question = Question(self._fleet, self._demands[number], seed=self._seed, last=last)
            position = algorithm.choose(question)
            if position is not None:
                spots.append(Spot(number, position))
                self.hold(spots[-1:])
                last = self._fleet.hosts[position].key
        self.release(spots)
        return tuple(spots)

    def _problem(self, demands: Sequence[Demand]) -> Problem:
        fleet = self._fleet
        masks: dict[int, int] = {}
        kinds = [masks.setdefault(had_they_room(fleet, demand), len(masks)) for demand in demands]
        allowed = np.zeros((max(1, len(masks)), len(fleet.hosts)), dtype=np.bool_)
        for mask, kind in masks.items():
            allowed[kind, list(positions(mask))] = True
        need = np.zeros((len(demands), len(fleet.columns)), dtype=np.int64)
        for n, demand in enumerate(demands):
            for column, amount in fleet.needs(demand):
                need[n, column] = amount
        return packing_problem(
            need=need,
            free=np.stack([column.array for column in fleet.columns], axis=1),
            busy=[bool(fleet.count(position)) for position in range(len(fleet.hosts))],
            kind=kinds,
            allowed=allowed,
        )

    def _size(self, demand: Demand) -> float:
        columns = self._fleet.columns
        return sum(amount / columns[row].largest for row, amount in self._fleet.needs(demand))
