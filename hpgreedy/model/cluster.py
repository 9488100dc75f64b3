"""The cluster: hosts, and what is held on them."""

from __future__ import annotations

from functools import cached_property

import msgspec

from hpgreedy.model.demand import Demand
from hpgreedy.model.host import Host


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """What is held on a host: vCPUs, MiB, units by resource, and the number of claims."""

    cpu: int = 0
    memory: int = 0
    resources: dict[str, int] = {}
    count: int = 0

    def plus(self, demand: Demand) -> Used:
        """With `demand` held as well."""
        return self._changed(demand, 1)

    def minus(self, demand: Demand) -> Used:
        """Without `demand`, which must have been held."""
        return self._changed(demand, -1)

    def _changed(self, demand: Demand, sign: int) -> Used:
        resources = self.resources
        if demand.resources:
            resources = dict(resources)
            for name, count in demand.resources.items():
                resources[name] = resources.get(name, 0) + sign * count
        return Used(
            cpu=self.cpu + sign * demand.cpu,
            memory=self.memory + sign * demand.memory,
            resources=resources,
            count=self.count + sign,
        )


NOTHING = Used()


class Claim(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a VM, or an open operation for it, holds on a host.

    A migrating VM has two claims, neither movable. At most one claim stands for a VM on a host.
    numa_nodes: the NUMA nodes it is pinned to there, where its demand asks for some.
    """

    demand: Demand
    host: str
    movable: bool = True
    numa_nodes: tuple[int, ...] = ()


class Cluster(msgspec.Struct, frozen=True, dict=True):
    """Hosts in the order of their registration, and the claims on them. Never changes: makes new ones.

    A claim on a host that is not in `hosts` is kept and counts nowhere.
    """

    hosts: dict[str, Host] = {}
    claims: tuple[Claim, ...] = ()

    @cached_property
    def _used(self) -> dict[str, Used]:
        return {host: _sum(claims) for host, claims in self._by_host.items()}

    @cached_property
    def _by_host(self) -> dict[str, tuple[Claim, ...]]:
        found: dict[str, list[Claim]] = {}
        for claim in self.claims:
            found.setdefault(claim.host, []).append(claim)
        return {host: tuple(claims) for host, claims in found.items()}

    def used(self, host: str) -> Used:
        """What is held on the host."""
        return self._used.get(host, NOTHING)

    def claims_on(self, host: str) -> tuple[Claim, ...]:
        """The claims on the host."""
        return self._by_host.get(host, ())

    def hosts_of(self, vm: str) -> frozenset[str]:
        """The hosts on which something is held for the VM."""
        return frozenset(claim.host for claim in self.claims if claim.demand.key == vm)

    def with_claim(self, claim: Claim) -> Cluster:
        """With one claim more."""
        used = {**self._used, claim.host: self.used(claim.host).plus(claim.demand)}
        return self._changed((*self.claims, claim), used)

    def without(self, vm: str, host: str | None = None) -> Cluster:
        """Without the VM's claims, or only without the one on `host`."""
        kept: list[Claim] = []
        used = dict(self._used)
        for claim in self.claims:
            if claim.demand.key != vm or (host is not None and claim.host != host):
                kept.append(claim)
            else:
                used[claim.host] = used[claim.host].minus(claim.demand)
        return self._changed(tuple(kept), used)

    def _changed(self, claims: tuple[Claim, ...], used: dict[str, Used]) -> Cluster:
        """The same hosts with other claims; what follows from them is handed on and not summed anew."""
        new = Cluster(self.hosts, claims)
        new.__dict__["_used"] = used
        return new


def _sum(claims: tuple[Claim, ...]) -> Used:
    resources: dict[str, int] = {}
    for claim in claims:
        for name, count in claim.demand.resources.items():
            resources[name] = resources.get(name, 0) + count
    return Used(
        cpu=sum(claim.demand.cpu for claim in claims),
        memory=sum(claim.demand.memory for claim in claims),
        resources=resources,
        count=len(claims),
    )
