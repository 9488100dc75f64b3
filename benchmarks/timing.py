"""Times of many single steps, and medians over runs.

Steps inside the process are timed in CPU time of the process, so that others on the machine count less;
whole processes in both, wall clock and CPU time.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Times(NamedTuple):
    """Of one run, or the medians over several: steps a second; microseconds of one step."""

    rate: float
    p50: float
    p99: float
    longest: float


def times_of(seconds: Sequence[float]) -> Times:
    """The times of one run's steps."""
    ordered = sorted(seconds)
    last = len(ordered) - 1
    middle, high = ordered[last // 2], ordered[last * 99 // 100]
    return Times(len(ordered) / sum(ordered), middle * 1e6, high * 1e6, ordered[-1] * 1e6)


def median_of(runs: Sequence[Times]) -> Times:
    """Each figure's median over the runs."""
    return Times(*(statistics.median(each) for each in zip(*runs, strict=True)))


def clock() -> float:
    """The CPU time of this process in seconds."""
    return time.process_time()


def milliseconds(step: Callable[[], object], runs: int) -> tuple[float, float]:
    """The median and the longest of so many calls."""
    found = []
    for _ in range(runs):
        begun = clock()
        step()
        found.append(clock() - begun)
    return statistics.median(found) * 1000, max(found) * 1000


class Process(NamedTuple):
    """The medians of a process's seconds: by the clock on the wall, and of CPU time."""

    wall: float
    cpu: float


def process(command: Sequence[str], runs: int, *, code: int = 0, patience: float = 600) -> Process:
    """What a process takes from its start to its end; it must end with `code` each time.

    Raises subprocess.TimeoutExpired after so many seconds of `patience`.
    """
    walls, cpus = [], []
    for _ in range(runs):
        before, begun = _of_children(), time.perf_counter()
        ended = subprocess.run(command, capture_output=True, check=False, timeout=patience)
        walls.append(time.perf_counter() - begun)
        cpus.append(_of_children() - before)
        if ended.returncode != code:
            raise RuntimeError(f"{command} ended with {ended.returncode}: {ended.stderr.decode()[-500:]}")
    return Process(statistics.median(walls), statistics.median(cpus))


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
