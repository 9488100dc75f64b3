"""The bins that a search holds in reserve, and whether what it has left over fits into them."""

from __future__ import annotations

import numpy as np

from hpgreedy.placement.packing.greedy import Groups
from hpgreedy.placement.packing.problem import FloatArray, Problem

# Orders in which the items are tried: the largest first, then by chance.
TRIES = 3
# With more items left over than bins in reserve times this, they are not tried.
FULL = 40


class Reserve:
    """Empty bins outside of the search, and what they held when they were filled last."""

    def __init__(
        self, problem: Problem, sizes: FloatArray, groups: Groups, chance: np.random.Generator
    ) -> None:
        self._problem = problem
        self._sizes: list[float] = sizes.tolist()
        self._needs: list[list[int]] = problem.need.tolist()
        self._groups = groups
        self._chance = chance
        self.held: dict[int, int] = {}
        self.clear()

    def __len__(self) -> int:
        return len(self._homes)

    def add(self, home: int) -> None:
        """Hold one bin more, empty."""
        self._homes.append(home)
        self._together = self._problem.free[self._homes].sum(axis=0)

    def drop_smallest(self) -> None:
        """Give up the bin that has least room, if there is any."""
        if self._homes:
            scale = np.maximum(self._problem.free[self._homes].max(axis=0), 1)
            room = (self._problem.free[self._homes] / scale).sum(axis=1)
            self._homes.pop(int(room.argmin()))
            self._together = self._problem.free[self._homes].sum(axis=0)

    def clear(self) -> None:
        """Hold no bins."""
        self._homes: list[int] = []
        self.held = {}
        self._together = self._problem.free[:0].sum(axis=0)

    def fill(self, items: list[int], spare: int) -> bool:
        """Put the items into the reserve, first fit in some orders; whether at most `spare` found no room."""
        self.held = {}
        if len(items) <= spare:
            return True
        if len(items) - spare > FULL * len(self._homes):
            return False
        if spare == 0 and (self._problem.need[items].sum(axis=0) > self._together).any():
            return False
        # When some are left over in any case, let these be the large ones.
        order = sorted(items, key=self._sizes.__getitem__, reverse=spare == 0)
        for _ in range(TRIES):
            held = self._first_fit(order, spare)
            if held is not None:
                self.held = held
                return True
            order = [items[place] for place in self._chance.permutation(len(items))]
        return False

    def _first_fit(self, order: list[int], spare: int) -> dict[int, int] | None:
        """Each item's bin; None as soon as more than `spare` items found none."""
        room = {home: self._problem.free[home].tolist() for home in self._homes}
        held: dict[int, int] = {}
        left = 0
        for item in order:
            home = next((home for home in self._homes if self._takes(home, item, room[home], held)), None)
            if home is None:
                left += 1
                if left > spare:
                    return None
                continue
            held[item] = home
            room[home] = [free - need for free, need in zip(room[home], self._needs[item], strict=True)]
        return held

    def _takes(self, home: int, item: int, room: list[int], held: dict[int, int]) -> bool:
        """Whether the bin, with that much room left, may take the item."""
        if any(need > free for need, free in zip(self._needs[item], room, strict=True)):
            return False
        if not self._problem.allowed[self._problem.kind[item], home]:
            return False
        return not any(self._groups.clash(item, other) for other, at in held.items() if at == home)
