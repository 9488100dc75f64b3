"""Hosts by a whole-number key, bit by bit: the least or the greatest of any subset in a few intersections.

The bit-sliced index of O'Neil and Quass, Improved Query Performance with Variant Indexes (1997): one mask for
each bit of the key, here of the hosts in whose key that bit is 0.
"""

from __future__ import annotations

import numpy as np

from hpgreedy.placement.fleet.masks import of_truths


class Order:
    """Keys by position; every key is 0 or more and below 2 ** bits, which is at most 2 ** 62."""

    __slots__ = ("_zero", "keys")

    def __init__(self, bits: int, keys: list[int]) -> None:
        self.keys = keys
        array = np.array(keys, dtype=np.int64)
        self._zero = [of_truths(array >> n & 1 == 0) for n in range(bits)]

    def append(self) -> None:
        """One host more, of key 0."""
        bit = 1 << len(self.keys)
        self.keys.append(0)
        self._zero = [mask | bit for mask in self._zero]

    def put(self, position: int, bit: int, key: int) -> None:
        """The host has that key from now on; `bit` is 1 << position."""
        changed = self.keys[position] ^ key
        if not changed:
            return
        self.keys[position] = key
        zero = self._zero
        while changed:
            low = changed & -changed
            zero[low.bit_length() - 1] ^= bit
            changed ^= low

    def least(self, mask: int) -> int:
        """Those of the mask whose key is the least; the mask must not be empty."""
        for zero in reversed(self._zero):
            smaller = mask & zero
            if smaller:
                mask = smaller
        return mask

    def greatest(self, mask: int) -> int:
        """Those of the mask whose key is the greatest; the mask must not be empty."""
        for zero in reversed(self._zero):
            smaller = mask & zero
            if smaller != mask:
                mask ^= smaller
        return mask
