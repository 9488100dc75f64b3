"""Delayed: the host that the VM fills, or waiting for one; the queue is in `hpgreedy.placement.delayed`.

Asked about one VM alone, with no queue to wait in, it takes the first host that the VM fills, else the first
that takes it, which is what comes of waiting in vain.
"""

from __future__ import annotations

from collections.abc import Sequence

from hpgreedy.model import Demand
from hpgreedy.placement.algorithms.algorithm import Algorithm
from hpgreedy.placement.constraints import feasible
from hpgreedy.placement.fleet import CPU, MEMORY, Fleet
from hpgreedy.placement.question import Question

NAME = "delayed"


def filled_by(fleet: Fleet, demands: Sequence[Demand]) -> int:
    """The mask of the hosts that take each of the VMs alone and have no vCPU or no memory left with all.

    One that asks for NUMA nodes, or several together, may yet be refused there.
    """
    mask = fleet.everything
    for demand in demands:
        mask &= feasible(fleet, demand)
    cpu, memory = sum(demand.cpu for demand in demands), sum(demand.memory for demand in demands)
    cpus, memories = fleet.columns[CPU], fleet.columns[MEMORY]
    mask &= cpus.at_least(cpu) & memories.at_least(memory)
    return mask & ~(cpus.at_least(cpu + 1) & memories.at_least(memory + 1))


def choose(question: Question) -> int | None:
    """The first candidate that the VM fills, else the first."""
    filled = filled_by(question.fleet, (question.demand,))
    found = question.narrowed(filled).first() if filled else None
    return question.first() if found is None else found


def why(question: Question, position: int) -> str:
    """What speaks for it."""
    host = question.host(position).key
    if filled_by(question.fleet, (question.demand,)) >> position & 1:
        return f"it fills {host} exactly"
    return f"it fills no host, and {host} is the first that takes it"


DELAYED = Algorithm(
    name=NAME,
    summary="a host that the VM fills, alone or with one that waits; else it waits, 3 rounds at most",
    source="the original HP Greedy (delayed bin packing)",
    choose=choose,
    why=why,
    waits=True,
)
