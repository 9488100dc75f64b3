"""What a VM asks of its host."""

from __future__ import annotations

from collections.abc import Hashable

import msgspec

from hpgreedy.model.rule import Rule
from protocol.spec import VmSpec

NO_LABELS: dict[str, str] = {}
NO_RESOURCES: dict[str, int] = {}


# gc=False: a garbage collection would walk over every VM, and nothing in one can lead back to it.
class Demand(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a VM takes from and asks of its host; memory in MiB.

    wanted_host: the only host it may start on. pinned: never moved to make room for another.
    bridges, networks: those its network cards name; its host must have all of them. pool, cpu_model: the
    storage pool and the CPU model its host must have, where it names one. accelerator: what must run
    the guests of its host, None = anything. group: what rules of VMs know it by.
    numa: the NUMA nodes of its host that it spans, 0 = it floats.
    """

    key: str
    cpu: int
    memory: int
    resources: dict[str, int] = NO_RESOURCES
    host_labels: dict[str, str] = NO_LABELS
    wanted_host: str | None = None
    pinned: bool = False
    bridges: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()
    pool: str | None = None
    cpu_model: str | None = None
    accelerator: str | None = None
    group: str | None = None
    rules: tuple[Rule, ...] = ()
    numa: int = 0

    @staticmethod
    def of_spec(spec: VmSpec) -> Demand:
        """The demand of a VM as its user described it."""
        nics = spec.nics or ()
        return Demand(
            key=spec.key,
            cpu=spec.cpu,
            memory=int(spec.memory),
            resources={name: count for name, count in spec.resources.items() if count} or NO_RESOURCES,
            host_labels=spec.host_labels or NO_LABELS,
            wanted_host=None if spec.host is None else str(spec.host),
            pinned=spec.pinned,
            bridges=frozenset(nic.bridge for nic in nics if nic.bridge is not None),
            networks=frozenset(nic.network for nic in nics if nic.network is not None),
            pool=spec.pool,
            cpu_model=spec.cpu_model,
            group=spec.group,
            rules=tuple(Rule.of_spec(each) for each in spec.affinity),
            numa=spec.numa or 0,
        )

    @property
    def selector(self) -> Hashable:
        """What it asks of a host apart from room and from other VMs; equal for VMs that ask for the same."""
        static = tuple(rule for rule in self.rules if rule.hard and rule.of_hosts) if self.rules else ()
        labels = frozenset(self.host_labels.items())
        return (labels, self.bridges, self.networks, self.pool, self.cpu_model, self.accelerator, static)

    @property
    def numa_share(self) -> tuple[int, int]:
        """The vCPUs and MiB it takes of each of its NUMA nodes, rounded up; only where `numa` is not 0."""
        return -(-self.cpu // self.numa), -(-self.memory // self.numa)

    def unbound(self) -> Demand:
        """The same without `wanted_host`, which says where a VM starts and not where it stays."""
        return self if self.wanted_host is None else msgspec.structs.replace(self, wanted_host=None)
