"""What the world's files hold."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from protocol.commands import Stamp
from protocol.messages import DomainState


class SimDomain(msgspec.Struct, frozen=True, kw_only=True):
    """A domain. `started_at` and `stopped_at` are seconds since the epoch.

    They and `start_id` are kept through migrations. `cpu_model` empty = the default; `numa_nodes` are its
    host's nodes that it is pinned to.
    """

    uuid: str
    name: str
    state: DomainState
    cpus: int
    memory_mib: int
    max_memory_mib: int
    macs: tuple[str, ...] = ()
    spec: dict[str, Any] | None = None
    stamp: Stamp | None = None
    disks: tuple[str, ...] = ()
    start_id: str = ""
    started_at: float = 0.0
    stopped_at: float = 0.0
    cpu_model: str = ""
    numa_nodes: tuple[int, ...] = ()

    @property
    def active(self) -> bool:
        """Whether it uses CPU and memory now."""
        return self.state in ("running", "paused")

    def behaviour(self, name: str) -> str:
        """How the guest is told to behave by its label ``simulated.<name>``; "" = normally."""
        labels = (self.spec or {}).get("labels", {})
        return str(labels.get(f"simulated.{name}", ""))


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A migration: host folders by hypervisor uuid, seconds, bytes; `outcome` once it has ended.

    `numa_nodes` are those of the target that the domain is pinned to from then on.
    """

    uuid: str
    source: str
    target: str
    started_at: float
    seconds: float
    total: int
    bandwidth: float
    downtime_ms: int
    numa_nodes: tuple[int, ...] = ()
    outcome: Literal["", "moved", "aborted", "failed"] = ""
    reason: str = ""

    def due(self, now: float) -> bool:
        """Whether all of it has been sent."""
        return now >= self.started_at + self.seconds
