"""Amounts of memory and disk, counted in whole MiB."""

from __future__ import annotations

import math
import re
from decimal import Decimal, InvalidOperation
from typing import Self

MIB_PER_UNIT = {"MiB": 1, "GiB": 1024, "TiB": 1024 * 1024}
MAX_MIB = 64 * 1024 * 1024
_TEXT = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?(MiB|GiB|TiB)")


class Memory(int):
    """An amount in MiB. In JSON a number means GiB; a string carries its unit (``"8192MiB"``)."""

    __slots__ = ()
    LEAST = 1

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read a JSON value; raises ValueError with a sentence that says what would be right."""
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError(cls._wrong(value))
        if isinstance(value, str):
            match = _TEXT.fullmatch(value)
            if match is None:
                raise ValueError(cls._wrong(value))
            amount = Decimal(match[1]) * MIB_PER_UNIT[match[2]]
        else:
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(cls._wrong(value))
            try:
                amount = Decimal(value) * 1024
            except InvalidOperation as error:
                raise ValueError(cls._wrong(value)) from error
        mib = math.ceil(amount)
        if not cls.LEAST <= mib <= MAX_MIB:
            raise ValueError(cls._wrong(value))
        return cls(mib)

    @classmethod
    def _wrong(cls, value: object) -> str:
        shown = repr(value) if len(repr(value)) <= 40 else repr(value)[:37] + "..."
        return (
            f'is {shown}; it must be a number of GiB, or a string such as "8192MiB" or "2GiB", '
            f"between {cls.LEAST} MiB and 65536 GiB"
        )

    @property
    def gib(self) -> float:
        """The amount in GiB; exact, since 1/1024 is a power of two."""
        return int(self) / 1024

    @property
    def kib(self) -> int:
        """The amount in KiB, the unit of libvirt."""
        return int(self) * 1024

    @property
    def mib(self) -> int:
        """The amount in MiB."""
        return int(self)

    def to_json(self) -> int | float:
        """The number of GiB as it stands in a cluster file; whole where it is whole."""
        return int(self) // 1024 if int(self) % 1024 == 0 else self.gib

    def __str__(self) -> str:
        return f"{self.gib:g}GiB" if int(self) >= 1024 else f"{int(self)}MiB"


class NoMemory(Memory):
    """An amount that may be 0."""

    __slots__ = ()
    LEAST = 0
