"""What an algorithm is asked: which of the hosts that take a VM it shall be."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import msgspec
import numpy as np

from hpgreedy.model import Demand, Host
from hpgreedy.placement.constraints import feasible, lacking, roughly
from hpgreedy.placement.fleet import Fleet, lowest
from hpgreedy.placement.fleet.masks import as_array, positions
from hpgreedy.placement.preferences import preferred

MISSES = 3
"""How many hosts without the room may be looked at before the mask of those that have it is made."""


class Rooms(msgspec.Struct, frozen=True):
    """The candidates' room as arrays, a column for each candidate, in order of registration.

    positions: (candidates,). need: (rows, 1) what the VM takes, free: (rows, candidates) what is free
    before it does, 0 where more is held than there is, capacity: (rows, candidates) what the hosts may
    give out; largest: (rows, 1) the largest capacity any host of the fleet has. Rows are vCPUs, MiB, and
    the units of each further resource.
    """

    positions: np.ndarray
    need: np.ndarray
    free: np.ndarray
    capacity: np.ndarray
    largest: np.ndarray


class Question:
    """A demand and the hosts that take it. Positions stand for hosts, in order of registration.

    seed: what chance follows from, where an algorithm draws. last: the host that the VM before this one
    was given, where there is one; it need not be there any more. without: hosts that are not to be chosen.
    hint: the position of the host that was found for it together with others, where it was.
    """

    def __init__(
        self,
        fleet: Fleet,
        demand: Demand,
        *,
        seed: int = 0,
        last: str | None = None,
        without: int = 0,
        hint: int | None = None,
    ) -> None:
        self.fleet = fleet
        self.demand = demand
        self.seed = seed
        self.last = last
        self.hint = hint
        self._without = without
        mask = roughly(fleet, demand)
        if without:
            mask &= ~without
        if mask and demand.rules:
            mask = preferred(fleet, demand, self._exact(mask))
        self._mask = mask

    def hinted(self) -> int | None:
        """The host that was found for it, if it still takes it; soft rules had their say then."""
        if self.hint is None or not self._exact(1 << self.hint & ~self._without):
            return None
        return self.hint

    def first(self) -> int | None:
        """The first candidate."""
        return self._pick(lambda mask: mask)

    def least_free(self) -> int | None:
        """The candidate with the least free, all quantities on one scale."""
        return self._pick(self.fleet.fullness.least)

    def most_free(self) -> int | None:
        """The candidate with the most free."""
        return self._pick(self.fleet.fullness.greatest)

    def first_from(self, position: int) -> int | None:
        """The first candidate at or after a position, else the first of all."""
        return self._pick(lambda mask: mask >> position << position or mask)

    def host(self, position: int) -> Host:
        """The host at a position."""
        return self.fleet.hosts[position]

    def without(self, position: int) -> Question:
        """The same question, were that host not there."""
        return self._leaving_out(1 << position)

    def narrowed(self, mask: int) -> Question:
        """The same question, were the hosts of the mask the only ones."""
        return self._leaving_out(~mask)

    @cached_property
    def candidates(self) -> np.ndarray:
        """The positions of all candidates."""
        return as_array(self._exact(self._mask))

    @cached_property
    def rooms(self) -> Rooms:
        """The candidates' room as arrays."""
        fleet, chosen = self.fleet, self.candidates
        need = np.zeros((len(fleet.columns), 1), dtype=np.int64)
        for row, amount in fleet.needs(self.demand):
            need[row, 0] = amount
        return Rooms(
            chosen,
            need,
            np.stack([np.maximum(column.array[chosen], 0) for column in fleet.columns]),
            np.stack([column.offered[chosen] for column in fleet.columns]),
            np.array([[column.largest] for column in fleet.columns], dtype=np.int64),
        )

    def least(self, scores: np.ndarray) -> int | None:
        """The candidate with the least score, (candidates,); the first among equals."""
        if not len(self.candidates):
            return None
        return int(self.candidates[int(np.argmin(np.round(scores, 9)))])

    def _leaving_out(self, mask: int) -> Question:
        without = self._without | mask
        return Question(
            self.fleet, self.demand, seed=self.seed, last=self.last, without=without, hint=self.hint
        )

    def _pick(self, narrow: Callable[[int], int]) -> int | None:
        """The first host of a rough mask that takes the VM is the first of the exact one."""
        fleet, demand, mask = self.fleet, self.demand, self._mask
        misses = 0
        while mask:
            position = lowest(narrow(mask))
            short = lacking(fleet, demand, position)
            if short is None and (not demand.numa or fleet.nodes[position].place(demand) is not None):
                return position
            if short is None or misses < MISSES:
                mask ^= 1 << position
            else:
                row, need = short
                mask &= fleet.columns[row].at_least(need)
            misses += short is not None
        return None

    def _exact(self, mask: int) -> int:
        mask &= feasible(self.fleet, self.demand)
        if not self.demand.numa:
            return mask
        for position in positions(mask):
            if self.fleet.nodes[position].place(self.demand) is None:
                mask ^= 1 << position
        return mask
