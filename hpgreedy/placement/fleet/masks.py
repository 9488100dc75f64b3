"""Sets of hosts as whole numbers: bit n stands for the host at position n, in order of registration.

Python's big integers intersect 10,000 hosts in a tenth of a microsecond, which no loop and no array does.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def lowest(mask: int) -> int:
    """The first position of a mask that is not empty."""
    for ahead in _AHEAD:
        part = mask & ahead
        if part:
            return (part & -part).bit_length() - 1
    highest = mask.bit_length() - 1
    return highest if mask == 1 << highest else (mask & -mask).bit_length() - 1


_AHEAD = ((1 << 2**10) - 1, (1 << 2**13) - 1)
"""Looked at before the whole mask is: to find the lowest bit of a long number takes long."""


def positions(mask: int) -> Iterator[int]:
    """All positions, in order."""
    if not mask:
        return
    if mask.bit_count() <= _FEW:
        while mask:
            bit = mask & -mask
            yield bit.bit_length() - 1
            mask ^= bit
        return
    yield from as_array(mask).tolist()


_FEW = 8


def as_array(mask: int) -> np.ndarray:
    """All positions, in order, as an array of whole numbers."""
    raw = np.frombuffer(mask.to_bytes((mask.bit_length() + 7) // 8, "little"), dtype=np.uint8)
    return np.flatnonzero(np.unpackbits(raw, bitorder="little"))


def of_truths(truths: np.ndarray) -> int:
    """The mask of the positions where the array is true."""
    return int.from_bytes(np.packbits(truths, bitorder="little").tobytes(), "little")
