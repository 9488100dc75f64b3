"""Figures of a simulated host."""

from __future__ import annotations

from agent.drivers.simulated.host import SimHost
from agent.drivers.simulated.records import SimDomain
from protocol.messages import Capacity, DomainReport, Usage

_USED = 0.6
_LOAD = 0.05


class SimMeter:
    """The `Meter` port."""

    def __init__(self, host: SimHost) -> None:
        self._host = host

    def capacity(self) -> Capacity:
        """What the URI says this host has."""
        self._host.check()
        return Capacity(cpus=self._host.options.cpus, memory_mib=self._host.options.memory_mib)

    def domains(self) -> tuple[DomainReport, ...]:
        """All domains."""
        host = self._host
        host.check()
        now = host.clock()
        host.world.settle(now)
        return tuple(self._report(domain, now) for domain in host.folder.all())

    def usage(self) -> Usage:
        """What the domains would use."""
        host = self._host
        active = [domain for domain in host.folder.all() if domain.active]
        busy = sum(_load(domain) * domain.cpus for domain in active)
        return Usage(
            cpu_percent=min(100.0, 100.0 * busy / host.options.cpus),
            memory_used_mib=sum(domain.memory_mib for domain in active),
            load1=busy,
        )

    def _report(self, domain: SimDomain, now: float) -> DomainReport:
        stamp = domain.stamp
        lived = max(0.0, now - domain.started_at) if domain.active else 0.0
        return DomainReport(
            uuid=domain.uuid,
            name=domain.name,
            state=domain.state,
            ours=stamp is not None,
            cpus=domain.cpus,
            memory_mib=domain.memory_mib,
            memory_used_mib=int(domain.memory_mib * _USED) if domain.active else 0,
            memory_maximum_mib=domain.max_memory_mib,
            cpu_seconds=lived * _load(domain) * domain.cpus,
            spec=domain.spec if stamp is not None else None,
            owner=stamp.owner if stamp else "",
            operation=stamp.operation if stamp else "",
            cluster=stamp.cluster if stamp else "",
            macs=domain.macs,
        )


def _load(domain: SimDomain) -> float:
    text = domain.behaviour("load")
    try:
        return max(0.0, min(1.0, float(text))) if text else _LOAD
    except ValueError:
        return _LOAD
