"""What is free of one quantity on every host, and which hosts have at least so much of it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

import numpy as np

from hpgreedy.placement.fleet.masks import of_truths

KEPT = 24
"""Amounts whose masks are kept; VMs come in few sizes, and each kept mask costs a little at every change."""
_NARROW = 2**31
"""Narrow numbers are scanned three times as fast."""


class Column:
    """Free amounts by position, whole numbers, and masks of the hosts that have at least an amount.

    A mask is made by a scan when an amount is first asked for, and corrected bit by bit from then on.
    `capacity` is what each host may give out at most, `largest` the largest of these, at least 1.
    """

    __slots__ = ("_array", "_cuts", "_masks", "_offered", "_seen", "_tick", "capacity", "largest", "values")

    def __init__(self, size: int) -> None:
        self.values: list[int] = [0] * size
        self.capacity: list[int] = [0] * size
        self.largest = 1
        self._array = np.zeros(max(size, 64), dtype=np.int32)
        self._offered: np.ndarray | None = None
        self._cuts: list[int] = []
        self._masks: list[int] = []
        self._seen: dict[int, int] = {}
        self._tick = 0

    @property
    def array(self) -> np.ndarray:
        """The free amounts, as an array of one's own."""
        return self._array[: len(self.values)].astype(np.int64)

    @property
    def offered(self) -> np.ndarray:
        """The capacities; not to be written to."""
        if self._offered is None:
            self._offered = np.array(self.capacity, dtype=np.int64)
        return self._offered

    def offer(self, position: int, amount: int) -> None:
        """The host may give out that much from now on."""
        self.capacity[position] = amount
        self._offered = None

    def append(self) -> None:
        """One host more, that has nothing."""
        size = len(self.values)
        if size == len(self._array):
            self._array = np.concatenate([self._array, np.zeros(size, dtype=self._array.dtype)])
        self.values.append(0)
        self.capacity.append(0)
        self._offered = None
        bit = 1 << size
        for n, cut in enumerate(self._cuts):
            if cut <= 0:
                self._masks[n] |= bit

    def put(self, position: int, bit: int, amount: int) -> None:
        """The host has that much free from now on; `bit` is 1 << position."""
        values = self.values
        before = values[position]
        if amount == before:
            return
        values[position] = amount
        if not -_NARROW < amount < _NARROW and self._array.dtype == np.int32:
            self._array = self._array.astype(np.int64)
        self._array[position] = amount
        cuts = self._cuts
        if amount < before:
            begin = bisect_right(cuts, amount)
            end = bisect_right(cuts, before, begin)
        else:
            begin = bisect_right(cuts, before)
            end = bisect_right(cuts, amount, begin)
        masks = self._masks
        for n in range(begin, end):
            masks[n] ^= bit

    def at_least(self, amount: int) -> int:
        """The mask of the hosts with at least `amount` free."""
        cuts = self._cuts
        self._tick += 1
        self._seen[amount] = self._tick
        n = bisect_left(cuts, amount)
        if n < len(cuts) and cuts[n] == amount:
            return self._masks[n]
        mask = of_truths(self._array[: len(self.values)] >= amount)
        cuts.insert(n, amount)
        self._masks.insert(n, mask)
        if len(cuts) > KEPT:
            self._forget()
        return mask

    def about(self, amount: int) -> int:
        """The mask of the hosts with at least `amount` free and maybe some with less: a mask that is there.

        Where that proves too rough, `at_least` makes the exact one, which serves from then on.
        """
        n = bisect_right(self._cuts, amount) - 1
        if n < 0:
            return -1
        self._tick += 1
        self._seen[self._cuts[n]] = self._tick
        return self._masks[n]

    def _forget(self) -> None:
        """Drop the half of the masks that were asked for the longest time ago."""
        kept = set(sorted(self._seen, key=self._seen.__getitem__)[-KEPT // 2 :])
        pairs = [(cut, mask) for cut, mask in zip(self._cuts, self._masks, strict=True) if cut in kept]
        self._cuts = [cut for cut, _ in pairs]
        self._masks = [mask for _, mask in pairs]
        self._seen = {cut: self._seen[cut] for cut in kept}
