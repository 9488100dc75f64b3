"""Amounts and lists as a person reads them."""

from __future__ import annotations

from collections.abc import Sequence

from protocol.spec import Memory


def amount(mib: int) -> str:
    """MiB as GiB where that is short and exact, else as MiB."""
    gib = f"{mib / 1024:g}"
    return str(Memory(mib)) if mib >= 1024 and float(gib) * 1024 == mib else f"{mib}MiB"


def size(cpu: int, memory: int) -> str:
    """A VM's size, such as ``12 cpus with 40GiB``."""
    return f"{count(cpu, 'cpu')} with {amount(memory)}"


def count(number: int, what: str) -> str:
    """The number with its noun: ``1 cpu``, ``2 cpus``."""
    return f"{number} {what}" + ("" if number == 1 else "s")


def some(items: Sequence[str], most: int = 3, between: str = "; ") -> str:
    """The first items and how many are left out: ``a; b; c and 12 more``."""
    left = len(items) - most
    return between.join(items[:most]) + (f" and {left} more" if left > 0 else "")
