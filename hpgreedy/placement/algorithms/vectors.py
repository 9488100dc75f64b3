"""A VM's needs and a host's room as vectors, for the algorithms of vector packing."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from hpgreedy.model import Cluster, Demand, Host
from hpgreedy.placement.decision import Question


class Axis(NamedTuple):
    """One resource: what the VM needs of it and what is free, as shares of the largest host's capacity."""

    need: float
    free: float


def axes(cluster: Cluster, demand: Demand, host: Host) -> list[Axis]:
    """vCPUs, memory, and every further resource that any host of the cluster offers."""
    scale, used = cluster.scale, cluster.used(host.key)
    found = [
        Axis(demand.cpu / scale.cpu, (host.cpu_capacity - used.cpu) / scale.cpu),
        Axis(demand.memory / scale.memory, (host.memory_capacity - used.memory) / scale.memory),
    ]
    for name, largest in scale.resources.items():
        free = host.resources.get(name, 0) - used.resources.get(name, 0)
        found.append(Axis(demand.resources.get(name, 0) / largest, free / largest))
    return found


def least(question: Question, score: Callable[[list[Axis]], float]) -> list[tuple[float, Host]]:
    """The candidates with their scores, from the lowest to the highest; ties in order of registration."""
    scored = [
        (round(score(axes(question.cluster, question.demand, host)), 9), host) for host in question.candidates
    ]
    return sorted(scored, key=lambda pair: pair[0])
