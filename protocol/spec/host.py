"""The host specification, as a cluster file describes hosts for a simulation."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from protocol.spec.fields import Count, Cpus, LabelValue, Name, ObjectId, Overcommit, ShortName, key_of
from protocol.spec.memory import Memory, NoMemory

Names = Annotated[tuple[ShortName, ...], msgspec.Meta(max_length=4096)]


class NumaNode(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A NUMA node of a host: its CPUs and its memory, in GiB or with a unit."""

    cpu: Cpus
    memory: Memory


class HostSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A physical host.

    cpu: its CPUs; it takes VMs up to ``(cpu - reserve_cpu) x cpu_overcommit`` vCPUs.
    memory: GiB, or a string with a unit; it takes VMs up to
    ``(memory - reserve_memory) x memory_overcommit``.
    reserve_cpu, reserve_memory: what is kept for the host itself.
    numa: its NUMA nodes in the order of their numbers, for VMs that ask to fit inside some; each takes up to
    its own cpu and memory times the overcommit.
    networks, bridges, pools, cpu_models: what it has of them, by name; not given = whatever a VM asks for.
    labels: what `host_labels` of a VM match.
    state: ``draining`` and ``down`` hosts take no VM.
    resources: further countable resources it offers, by name.
    """

    id: ObjectId
    cpu: Cpus
    memory: Memory
    labels: dict[Name, LabelValue] = {}
    state: Literal["up", "draining", "down"] = "up"
    resources: dict[Name, Count] = {}
    cpu_overcommit: Overcommit = 1.0
    memory_overcommit: Overcommit = 1.0
    reserve_cpu: Count = 0
    reserve_memory: NoMemory = NoMemory(0)
    numa: Annotated[tuple[NumaNode, ...], msgspec.Meta(max_length=1024)] = ()
    networks: Names | None = None
    bridges: Names | None = None
    pools: Names | None = None
    cpu_models: Names | None = None

    def __post_init__(self) -> None:
        if self.reserve_cpu > self.cpu:
            raise ValueError(
                f"reserve_cpu is {self.reserve_cpu}; it must be at most cpu, which is {self.cpu}"
            )
        if self.reserve_memory > self.memory:
            raise ValueError(
                f"reserve_memory is {self.reserve_memory}; it must be at most memory, which is {self.memory}"
            )
        cpus, memory = sum(node.cpu for node in self.numa), sum(node.memory for node in self.numa)
        if cpus > self.cpu:
            raise ValueError(f"numa has {cpus} cpus in all; the host's cpu is {self.cpu}")
        if memory > self.memory:
            raise ValueError(f"numa has {Memory(memory)} in all; the host's memory is {self.memory}")

    @property
    def key(self) -> str:
        """The id as text."""
        return key_of(self.id)
