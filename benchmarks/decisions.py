"""Deciding and committing, in process, beside a plain numpy scan of the same hosts and VMs."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import msgspec

from benchmarks.clusters import demands, filled, hosts
from benchmarks.scan import Scan
from benchmarks.timing import Times, clock, median_of, times_of
from hpgreedy.model import Cluster, Demand
from hpgreedy.placement import Fleet, Placed, Placer

VM_TIMES = 2
"""The VMs of full hosts are so many times as large as those that come, so that there are fewer to make."""


class Course(NamedTuple):
    """A cluster, the VMs that come, and those that go: one before each that comes, where there are some."""

    name: str
    cluster: Cluster
    coming: list[Demand]
    going: list[tuple[Demand, str]]


class Measured(NamedTuple):
    """The placer's times, the scan's where it has the algorithm, and how many VMs found no host."""

    times: Times
    scan: Times | None
    refused: int


def courses(count: int, steps: int, seed: int) -> list[Callable[[], Course]]:
    """Empty hosts, then full ones: VMs of few sizes, then of any."""
    return [
        partial(_course, count, steps, seed, full, flavours)
        for full in (False, True)
        for flavours in (True, False)
    ]


def given(cluster: Cluster, coming: tuple[Demand, ...], steps: int, seed: int) -> Course:
    """A cluster of one's own; without VMs to place, such as stand there come."""
    drawn = [claim.demand for claim in cluster.claims]
    random.Random(seed).shuffle(drawn)
    new = list(coming) or [_again(demand, n) for n, demand in enumerate(drawn)]
    return Course("given", cluster, new[:steps], _leaving(cluster, steps, seed) if not coming else [])


def _again(demand: Demand, number: int) -> Demand:
    return msgspec.structs.replace(demand.unbound(), key=f"new{number}")


def scannable(course: Course) -> bool:
    """Whether its VMs ask for room and labels alone, which is all that the scan knows."""
    standing = (claim.demand.unbound() for claim in course.cluster.claims)
    return all(
        demand
        == Demand(
            key=demand.key,
            cpu=demand.cpu,
            memory=demand.memory,
            resources=demand.resources,
            host_labels=demand.host_labels,
        )
        for demand in (*course.coming, *standing)
    )


def _course(count: int, steps: int, seed: int, full: bool, flavours: bool) -> Course:
    sizes = "few sizes" if flavours else "any size"
    coming = demands(steps, seed + 2, flavours=flavours)
    if not full:
        return Course(f"empty hosts, {sizes}", Cluster(hosts(count, seed)), coming, [])
    cluster = filled(count, seed, flavours=flavours, times=VM_TIMES)
    return Course(f"full hosts, {sizes}", cluster, coming, _leaving(cluster, steps, seed))


def _leaving(cluster: Cluster, steps: int, seed: int) -> list[tuple[Demand, str]]:
    standing = list(cluster.claims)
    random.Random(seed + 3).shuffle(standing)
    return [(claim.demand, claim.host) for claim in standing[:steps]]


def measure(course: Course, algorithm: str, runs: int, scans: int) -> Measured:
    """Medians over the runs. The scan places the first `scans` VMs, and must choose the same hosts."""
    ours, theirs, refused = [], [], 0
    beside = algorithm in ("first_fit", "best_fit") and scannable(course)
    for _ in range(runs):
        times, chosen = _placed(course, algorithm)
        ours.append(times)
        refused = sum(1 for host in chosen if host is None)
        if beside:
            times, same = _scanned(course, algorithm, scans)
            theirs.append(times)
            if same != chosen[: len(same)]:
                raise RuntimeError(f"{algorithm} and the scan chose differently in {course.name!r}")
    return Measured(median_of(ours), median_of(theirs) if theirs else None, refused)


def _placed(course: Course, algorithm: str) -> tuple[Times, list[str | None]]:
    placer = Placer(Fleet(course.cluster))

    def place(demand: Demand) -> str | None:
        answer = placer.place(demand, algorithm)
        return answer.host if isinstance(answer, Placed) else None

    return _run(course, len(course.coming), place, lambda vm, host: placer.fleet.remove(vm.key, host))


def _scanned(course: Course, algorithm: str, steps: int) -> tuple[Times, list[str | None]]:
    scan = Scan(course.cluster)
    return _run(course, steps, lambda demand: scan.place(demand, algorithm), scan.remove)


def _run(
    course: Course,
    steps: int,
    place: Callable[[Demand], str | None],
    remove: Callable[[Demand, str], object],
) -> tuple[Times, list[str | None]]:
    going = iter(course.going)
    seconds, chosen = [], []
    for demand in course.coming[:steps]:
        gone = next(going, None)
        if gone is not None:
            remove(*gone)
        begun = clock()
        host = place(demand)
        seconds.append(clock() - begun)
        chosen.append(host)
    return times_of(seconds), chosen
