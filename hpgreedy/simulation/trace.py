"""A stream of requests from a table of comma-separated values."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable

from hpgreedy.model import Demand
from hpgreedy.simulation.stream import Arrival
from protocol.spec import SpecError

COLUMNS = ("second", "vcpu", "memory_gib", "lifetime_s")
MOST_CPUS = 4096
MOST_GIB = 65536.0


def read_trace(lines: Iterable[str], limit: int | None = None) -> tuple[Arrival, ...]:
    """The requests of a table whose first line names the columns `COLUMNS`, in any order.

    With a further column ``censored``, a VM of which that is 1 stays to the end: its lifetime is how long it
    was watched. Raises SpecError naming the line, the column and the value.
    """
    reader = csv.DictReader(lines)
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise SpecError(
            f"line 1 lacks the column {missing[0]!r}; there must be {', '.join(COLUMNS)}",
            missing[0],
        )
    arrivals: list[Arrival] = []
    for n, row in enumerate(reader):
        if limit is not None and n >= limit:
            break
        line = n + 2
        at = _number(row, "second", line, 0, math.inf)
        if arrivals and at < arrivals[-1].at:
            raise SpecError(
                f"line {line}: second is {at:g}; it must not be before the line above, {arrivals[-1].at:g}",
                "second",
            )
        cpu = _number(row, "vcpu", line, 1, MOST_CPUS)
        if cpu != int(cpu):
            raise SpecError(f"line {line}: vcpu is {row['vcpu']!r}; it must be a whole number", "vcpu")
        memory = math.ceil(_number(row, "memory_gib", line, 1 / 1024, MOST_GIB) * 1024)
        stays = _number(row, "lifetime_s", line, 0, math.inf)
        demand = Demand(key=f"vm{n}", cpu=int(cpu), memory=memory)
        watched_only = row.get("censored") == "1"
        arrivals.append(Arrival(at=at, stays=None if watched_only else stays, demand=demand))
    if not arrivals:
        raise SpecError("the table has no requests; it must have a line for each", "lines")
    return tuple(arrivals)


def _number(row: dict[str, str], name: str, line: int, least: float, most: float) -> float:
    text = row.get(name)
    try:
        number = float(text if text is not None else "")
    except ValueError:
        number = math.nan
    if not least <= number <= most or math.isinf(number):
        shown = "missing" if text is None else repr(text[:40])
        limits = f"a number of at least {least:g}" + ("" if math.isinf(most) else f" and at most {most:g}")
        raise SpecError(f"line {line}: {name} is {shown}; it must be {limits}", name)
    return number
