"""A host as the placer sees it."""

from __future__ import annotations

import enum
import math

import msgspec


class HostState(enum.StrEnum):
    """Whether a host takes VMs; only `UP` does."""

    UP = "up"
    DRAINING = "draining"
    UNREACHABLE = "unreachable"
    DOWN = "down"


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A NUMA node: its CPUs and MiB."""

    cpu: int
    memory: int


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """A host: what it offers and what is known to stand in a VM's way there.

    memory is MiB. reserve_*: kept for the host itself. networks, bridges, pools, cpu_models: what it has,
    None = whatever is asked for. accelerator: what runs its guests, such as kvm, empty = the same.
    names_taken: names of foreign domains on it. problem: why it is in its state, a sentence or empty.
    """

    key: str
    cpu: int
    memory: int
    cpu_overcommit: float = 1.0
    memory_overcommit: float = 1.0
    reserve_cpu: int = 0
    reserve_memory: int = 0
    labels: dict[str, str] = {}
    resources: dict[str, int] = {}
    numa: tuple[Node, ...] = ()
    state: HostState = HostState.UP
    problem: str = ""
    networks: frozenset[str] | None = None
    bridges: frozenset[str] | None = None
    pools: frozenset[str] | None = None
    cpu_models: frozenset[str] | None = None
    offer_cpu: str = ""
    accelerator: str = ""
    names_taken: frozenset[str] = frozenset()

    @property
    def cpu_capacity(self) -> int:
        """The vCPUs it may give out."""
        return given_out(self.cpu - self.reserve_cpu, self.cpu_overcommit)

    @property
    def memory_capacity(self) -> int:
        """The MiB it may give out."""
        return given_out(self.memory - self.reserve_memory, self.memory_overcommit)

    @property
    def node_capacities(self) -> tuple[tuple[int, int], ...]:
        """The vCPUs and MiB each NUMA node may give out."""
        return tuple(
            (given_out(node.cpu, self.cpu_overcommit), given_out(node.memory, self.memory_overcommit))
            for node in self.numa
        )


def given_out(amount: int, overcommit: float) -> int:
    """Whole units of an amount under overcommit; rounded first, so that 10 CPUs times 2.3 are 23."""
    return math.floor(round(amount * overcommit, 6))
