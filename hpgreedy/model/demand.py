"""What a VM asks of its host."""

from __future__ import annotations

import msgspec

from protocol.spec import VmSpec


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What a VM takes from and asks of its host; memory in MiB.

    wanted_host: the only host it may start on. pinned: never moved to make room for another.
    bridges, networks: those its network cards name; its host must have all of them.
    """

    key: str
    cpu: int
    memory: int
    resources: dict[str, int] = {}
    host_labels: dict[str, str] = {}
    wanted_host: str | None = None
    pinned: bool = False
    bridges: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()

    @staticmethod
    def of_spec(spec: VmSpec) -> Demand:
        """The demand of a VM as its user described it."""
        nics = spec.nics or ()
        return Demand(
            key=spec.key,
            cpu=spec.cpu,
            memory=int(spec.memory),
            resources={name: count for name, count in spec.resources.items() if count},
            host_labels=spec.host_labels,
            wanted_host=None if spec.host is None else str(spec.host),
            pinned=spec.pinned,
            bridges=frozenset(nic.bridge for nic in nics if nic.bridge is not None),
            networks=frozenset(nic.network for nic in nics if nic.network is not None),
        )

    def unbound(self) -> Demand:
        """The same without `wanted_host`, which says where a VM starts and not where it stays."""
        return self if self.wanted_host is None else msgspec.structs.replace(self, wanted_host=None)
