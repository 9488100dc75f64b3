"""The question every constraint answers, in two forms."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from hpgreedy.model import Demand, Host
from hpgreedy.placement.decision import Reason, Rejection
from hpgreedy.placement.fleet import CPU, MEMORY, Fleet
from hpgreedy.placement.fleet.numa import Nodes


class Case(msgspec.Struct, frozen=True):
    """May `demand` go to the host at `position`? `empty` = if nothing were held there."""

    fleet: Fleet
    demand: Demand
    position: int
    empty: bool = False

    @property
    def host(self) -> Host:
        """The host."""
        return self.fleet.hosts[self.position]

    @property
    def free_cpu(self) -> int:
        """The free vCPUs."""
        return self.host.cpu_capacity if self.empty else self.fleet.columns[CPU].values[self.position]

    @property
    def free_memory(self) -> int:
        """The free MiB."""
        return self.host.memory_capacity if self.empty else self.fleet.columns[MEMORY].values[self.position]

    def free(self, name: str) -> int:
        """The free units of a resource."""
        return self.host.resources.get(name, 0) if self.empty else self.fleet.free(self.position, name)

    @property
    def nodes(self) -> Nodes | None:
        """The NUMA nodes; None where the host has none."""
        found = self.fleet.nodes.get(self.position)
        return Nodes(self.host) if found is not None and self.empty else found

    @property
    def places(self) -> tuple[int, ...]:
        """Where something is held for the VM already."""
        return self.fleet.places(self.demand.key)

    def reject(
        self, reason: Reason, detail: str, need: float | None = None, have: float | None = None
    ) -> Rejection:
        """A rejection by this host."""
        return Rejection(host=self.host.key, reason=reason, need=need, have=have, detail=detail)


class Constraint(msgspec.Struct, frozen=True):
    """A rule that a host must keep to take a VM.

    `reject` says of one host whether and why it does not; `mask` gives all hosts that do, and both say the
    same (for NUMA the mask may hold hosts too many). A mask that would keep no host off is `fleet.everything`
    itself. `rough` is cheaper and may hold hosts too many; None where `mask` is cheap.
    """

    reject: Callable[[Case], Rejection | None]
    mask: Callable[[Fleet, Demand], int]
    rough: Callable[[Fleet, Demand], int] | None = None
