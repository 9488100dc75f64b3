"""What a host offers; pure."""

from __future__ import annotations

import msgspec

from agent.settings import AgentSettings
from protocol.messages import Capacity


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What the operating system says the machine has."""

    cpus: int
    memory_mib: int


def offer(hypervisor: Capacity, machine: Machine | None, settings: AgentSettings) -> Capacity:
    """The smaller of what hypervisor and machine have, less the reserve, capped by the operator.

    `machine` None = a simulated host, which has what it says.
    """
    cpus, memory = hypervisor.cpus, hypervisor.memory_mib
    if machine is not None:
        cpus, memory = min(cpus, machine.cpus), min(memory, machine.memory_mib)
    memory = max(0, memory - settings.reserve_memory_mib)
    if settings.memory_mib:
        memory = min(memory, settings.memory_mib)
    return Capacity(
        cpus=max(0, cpus - settings.reserve_cpu),
        memory_mib=memory,
        cpu_overcommit=settings.cpu_overcommit,
        memory_overcommit=settings.memory_overcommit,
        resources=settings.resources,
    )
