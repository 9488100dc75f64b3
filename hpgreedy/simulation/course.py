"""How a simulated cluster fared over time."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from hpgreedy.placement.fleet import CPU, MEMORY, Fleet
from hpgreedy.simulation.stream import Arrival


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """A VM's size, against which fragmentation is measured: vCPUs and MiB."""

    cpu: int
    memory: int


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """The cluster at a time: seconds since the first request.

    hosts_used: hosts that hold a VM. cpu, memory: the share given out of what all hosts may give out.
    fragmentation: the share of the VMs of the shape for which there is free room in sum, and on no host.
    rejected: requests refused so far.
    """

    at: float
    vms: int
    hosts_used: int
    cpu: float
    memory: float
    fragmentation: float
    rejected: int


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """What an algorithm made of a stream.

    moves: live migrations that made room, and `moved` the MiB they moved. rejected_cpu: the share of all
    vCPUs asked for that was refused. stranding: VMs let in under n1-warn that leave some with nowhere to
    restart. hosts_peak: the most hosts that held a VM at any moment. Means are over the samples. seconds:
    what the decisions took.
    """

    algorithm: str
    placed: int
    rejected: int
    rejected_cpu: float
    stranding: int
    moves: int
    moved: int
    hosts_peak: int
    hosts_mean: float
    cpu_mean: float
    memory_mean: float
    fragmentation_mean: float
    seconds: float
    samples: tuple[Sample, ...]


def default_shape(arrivals: Sequence[Arrival]) -> Shape:
    """A large VM of the stream: nineteen of twenty ask for no more of vCPUs, and as many of memory."""
    cpus = sorted(arrival.demand.cpu for arrival in arrivals)
    memory = sorted(arrival.demand.memory for arrival in arrivals)
    at = (len(arrivals) * 19) // 20
    return Shape(cpu=max(1, cpus[at]), memory=max(1, memory[at]))


def sample(fleet: Fleet, shape: Shape, at: float, rejected: int) -> Sample:
    """The cluster as it stands."""
    cpu, memory = fleet.columns[CPU], fleet.columns[MEMORY]
    all_cpu, all_memory = sum(cpu.capacity), sum(memory.capacity)
    counts = [len(tuple(fleet.claims_on(position))) for position, _ in fleet.standing_hosts()]
    return Sample(
        at=at,
        vms=sum(counts),
        hosts_used=sum(1 for count in counts if count),
        cpu=1 - float(cpu.array.sum()) / all_cpu if all_cpu else 0.0,
        memory=1 - float(memory.array.sum()) / all_memory if all_memory else 0.0,
        fragmentation=fragmentation(cpu.array, memory.array, shape),
        rejected=rejected,
    )


def fragmentation(cpu: np.ndarray, memory: np.ndarray, shape: Shape) -> float:
    """1 - slots / ideal: VMs of the shape that fit on single hosts, over those that all free room in sum
    would hold; 0 when it would hold none. `cpu`, `memory`: what is free by host.
    """
    slots = int(np.maximum(np.minimum(cpu // shape.cpu, memory // shape.memory), 0).sum())
    free_cpu, free_memory = int(np.maximum(cpu, 0).sum()), int(np.maximum(memory, 0).sum())
    ideal = min(free_cpu // shape.cpu, free_memory // shape.memory)
    return 1 - slots / ideal if ideal else 0.0
