"""A stream of requests: each comes at its second and leaves after its lifetime."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Sequence

import msgspec

from hpgreedy.model import Demand, Host


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """A request: when it comes and how long it stays, in seconds; None = to the end."""

    at: float
    stays: float | None
    demand: Demand


class Mix(msgspec.Struct, frozen=True, kw_only=True):
    """What a generated stream is made of.

    cpus: vCPUs, and how often each is asked for; gib_per_cpu: GiB for each vCPU, all equally often. Lifetimes
    are log-normal, half of them below `median_stay` seconds, spread by `sigma`. load: the share of the
    hosts' scarcer of vCPUs and memory that is asked for on average.
    """

    cpus: tuple[tuple[int, int], ...] = ((1, 35), (2, 30), (4, 20), (8, 10), (16, 5))
    gib_per_cpu: tuple[int, ...] = (2, 4, 8)
    median_stay: float = 3600.0
    sigma: float = 1.5
    load: float = 1.0


def generated(count: int, hosts: Sequence[Host], seed: int, mix: Mix | None = None) -> tuple[Arrival, ...]:
    """`count` requests, each independent of all others (Poisson arrivals); the same for a seed."""
    mix = mix or Mix()
    chance = random.Random(seed)  # noqa: S311 - no secret is made of it
    sizes, weights = [size for size, _ in mix.cpus], [weight for _, weight in mix.cpus]
    mean_cpu = sum(size * weight for size, weight in mix.cpus) / sum(weights)
    mean_memory = mean_cpu * 1024 * sum(mix.gib_per_cpu) / len(mix.gib_per_cpu)
    mean_stay = mix.median_stay * math.exp(mix.sigma**2 / 2)
    # Little's law: what stands on average is the rate of arrivals times the mean stay.
    standing = mix.load * min(
        sum(host.cpu_capacity for host in hosts) / mean_cpu,
        sum(host.memory_capacity for host in hosts) / mean_memory,
    )
    rate = max(standing, 1.0) / mean_stay
    at, arrivals = 0.0, []
    for n in range(count):
        at += chance.expovariate(rate)
        cpu = chance.choices(sizes, weights)[0]
        demand = Demand(key=f"vm{n}", cpu=cpu, memory=cpu * 1024 * chance.choice(mix.gib_per_cpu))
        stays = chance.lognormvariate(math.log(mix.median_stay), mix.sigma)
        arrivals.append(Arrival(at=at, stays=stays, demand=demand))
    return tuple(arrivals)


def peak(arrivals: Sequence[Arrival]) -> tuple[int, int]:
    """The most vCPUs and the most MiB that are asked for at one time."""
    leaving: list[tuple[float, int, int]] = []
    cpu = memory = most_cpu = most_memory = 0
    for arrival in arrivals:
        while leaving and leaving[0][0] <= arrival.at:
            _, less_cpu, less_memory = heapq.heappop(leaving)
            cpu, memory = cpu - less_cpu, memory - less_memory
        demand = arrival.demand
        if arrival.stays is not None:
            heapq.heappush(leaving, (arrival.at + arrival.stays, demand.cpu, demand.memory))
        cpu, memory = cpu + demand.cpu, memory + demand.memory
        most_cpu, most_memory = max(most_cpu, cpu), max(most_memory, memory)
    return most_cpu, most_memory


def enough_hosts(arrivals: Sequence[Arrival], cpu: int, memory: int, share: float = 0.95) -> int:
    """How many hosts of that size hold `share` of the peak, so that a few requests must be refused."""
    most_cpu, most_memory = peak(arrivals)
    return max(1, math.ceil(share * max(most_cpu / cpu, most_memory / memory)))
