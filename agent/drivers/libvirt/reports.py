"""A domain's report from libvirt's figures and its XML; pure."""

from __future__ import annotations

from typing import Any

from agent.drivers.libvirt import states
from agent.drivers.libvirt.domain_read import DomainFacts
from protocol.messages import DomainReport


def report_of(
    uuid: str,
    name: str,
    stats: dict[str, Any],
    facts: DomainFacts | None,
    *,
    persistent: bool,
    outgoing: bool,
) -> DomainReport:
    """A domain's report from libvirt's figures and its XML."""
    state = states.domain_state(
        stats.get("state.state", states.RUNNING),
        stats.get("state.reason", 0),
        persistent=persistent,
        outgoing=outgoing,
    )
    stamped = facts.stamped if facts is not None else None
    available = stats.get("balloon.available", 0)
    free = stats.get("balloon.usable", stats.get("balloon.unused", available))
    return DomainReport(
        uuid=uuid,
        name=name,
        state=state,
        ours=stamped is not None,
        persistent=persistent,
        cpus=stats.get("vcpu.current", facts.cpus if facts is not None else 0),
        memory_mib=_mib(stats.get("balloon.current"), facts.memory_mib if facts is not None else 0),
        memory_used_mib=max(0, available - free) // 1024,
        memory_maximum_mib=_mib(
            stats.get("balloon.maximum"), facts.max_memory_mib if facts is not None else 0
        ),
        cpu_seconds=stats.get("cpu.time", 0) / 1e9,
        spec=_small(stamped.raw) if stamped is not None else None,
        owner=stamped.stamp.owner if stamped is not None else "",
        operation=stamped.stamp.operation if stamped is not None else "",
        cluster=stamped.stamp.cluster if stamped is not None else "",
        macs=facts.macs if facts is not None else (),
    )


def _small(spec: dict[str, Any]) -> dict[str, Any]:
    """Without the parts that may be long: a report must fit into one message."""
    return {name: value for name, value in spec.items() if name not in ("cloud_init", "labels")}


def _mib(kib: int | None, otherwise: int) -> int:
    return otherwise if kib is None else kib // 1024
