"""A host as the placer sees it."""

from __future__ import annotations

import enum

import msgspec


class HostState(enum.StrEnum):
    """Whether a host takes VMs; only `UP` does."""

    UP = "up"
    DRAINING = "draining"
    UNREACHABLE = "unreachable"
    DOWN = "down"


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """A host: what it offers and what is known to stand in a VM's way there.

    memory is MiB. networks, bridges: those its guests can be attached to. names_taken: names of foreign
    domains on it. problem: why it is in its state, a sentence or empty.
    """

    key: str
    cpu: int
    memory: int
    cpu_overcommit: float = 1.0
    memory_overcommit: float = 1.0
    labels: dict[str, str] = {}
    resources: dict[str, int] = {}
    state: HostState = HostState.UP
    problem: str = ""
    networks: frozenset[str] = frozenset()
    bridges: frozenset[str] = frozenset()
    names_taken: frozenset[str] = frozenset()

    @property
    def cpu_capacity(self) -> float:
        """The vCPUs it may give out; rounded, so that 10 CPUs times 2.3 are 23 and not a hair less."""
        return round(self.cpu * self.cpu_overcommit, 6)

    @property
    def memory_capacity(self) -> float:
        """The MiB it may give out."""
        return round(self.memory * self.memory_overcommit, 6)
