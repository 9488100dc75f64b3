"""The cluster as the head node knows it: durable records, and what hosts reported last.

Only `Context` and the engine change it; everything else reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from hpgreedy.model import Claim, Cluster, Demand, Host, HostState
from hpgreedy.operations.records import (
    KINDS,
    HostRecord,
    ImageRecord,
    KeyRecord,
    Meta,
    OperationRecord,
    RequestRecord,
    VmRecord,
    from_value,
)
from protocol.messages import DomainReport, Report


class Now(msgspec.Struct, frozen=True):
    """The time: `wall` for people and deadlines, `mono` (never steps) for liveness; seconds."""

    wall: float
    mono: float


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator set for the cluster.

    growth: factor between a VM's size and the maximum it can grow to, where it names none.
    host_timeout: seconds of silence after which a host counts as unreachable.
    """

    algorithm: str = "greedy"
    default_image: str | None = None
    growth: float = 2.0
    host_timeout: float = 8.0
    resend_after: float = 3.0
    command_ttl: float = 120.0
    migration_ttl: float = 3600.0


SETTLING = 5.0
"""Seconds after an operation in which a report may still be older than the operation's end."""


class HostLive(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a host right now; gone with the process."""

    heard: float | None = None
    heard_wall: float | None = None
    left: bool = False
    report: Report | None = None


class World:
    """Records by kind and key, and the live state of hosts by name.

    cpu_percent: by domain uuid, 100 = one CPU. settled: by VM key, when its last operation ended
    (monotonic seconds).
    """

    def __init__(self, meta: Meta, settings: Settings) -> None:
        self.meta = meta
        self.settings = settings
        self.vms: dict[str, VmRecord] = {}
        self.hosts: dict[str, HostRecord] = {}
        self.operations: dict[int, OperationRecord] = {}
        self.open: dict[int, None] = {}
        self.images: dict[str, ImageRecord] = {}
        self.keys: dict[str, KeyRecord] = {}
        self.requests: dict[str, RequestRecord] = {}
        self.live: dict[str, HostLive] = {}
        self.cpu_percent: dict[str, float] = {}
        self.settled: dict[str, float] = {}

    @classmethod
    def load(
        cls, stored: Mapping[str, Mapping[str, dict[str, Any]]], settings: Settings, fallback: Meta
    ) -> World:
        """The world of a store's records; `fallback` is the Meta of a cluster that is new.

        Raises SpecError when a record is damaged.
        """
        records: dict[str, dict[str, Any]] = {
            name: {key: from_value(kind, value) for key, value in stored.get(name, {}).items()}
            for name, kind in KINDS.items()
        }
        world = cls(records["meta"].get("cluster", fallback), settings)
        world.vms = dict(sorted(records["vm"].items(), key=lambda item: item[1].created))
        world.hosts = dict(sorted(records["host"].items(), key=lambda item: item[1].joined))
        world.operations = {int(key): op for key, op in records["operation"].items()}
        world.operations = dict(sorted(world.operations.items()))
        world.open = {number: None for number, op in world.operations.items() if not op.done}
        world.images, world.keys = records["image"], records["key"]
        world.requests = records["request"]
        return world

    def open_operations(self) -> Iterator[OperationRecord]:
        """Those that have not ended, oldest first."""
        return (self.operations[number] for number in list(self.open))

    def heard_lately(self, host: str, now: Now) -> bool:
        """Whether the host has said anything within the time after which it counts as unreachable."""
        heard = self.live.get(host, HostLive()).heard
        return heard is not None and now.mono - heard <= self.settings.host_timeout

    def settling(self, vm: VmRecord, now: Now) -> bool:
        """Whether the VM's last operation ended so recently that reports may be older."""
        return now.mono - self.settled.get(vm.key, float("-inf")) < SETTLING

    def host_state(self, name: str, now: Now) -> tuple[HostState, str]:
        """The host's state and, when it is not up, why."""
        record, live = self.hosts[name], self.live.get(name, HostLive())
        if live.heard is None:
            return HostState.UNREACHABLE, "it has not been heard of since the coordinator started"
        if live.left:
            return HostState.UNREACHABLE, "its agent was stopped"
        if not self.heard_lately(name, now):
            silent = now.mono - live.heard
            return HostState.UNREACHABLE, f"nothing was heard of it for {silent:.0f} s"
        if live.report is not None and not live.report.hypervisor_up:
            return HostState.DOWN, live.report.problem or "its libvirt does not answer"
        if record.draining:
            return HostState.DRAINING, "it is being drained"
        return HostState.UP, ""

    def cluster(self, now: Now) -> Cluster:
        """Hosts and everything that holds capacity on them, as placement sees it."""
        ours = frozenset(vm.uuid for vm in self.vms.values())
        hosts = {name: self._host(record, now, ours) for name, record in self.hosts.items()}
        return Cluster(hosts=hosts, claims=tuple(self._claims()))

    def domain(self, vm: VmRecord) -> DomainReport | None:
        """The VM's domain in the last report of its host."""
        if vm.host is None:
            return None
        report = self.live.get(vm.host, HostLive()).report
        if report is None:
            return None
        return next((domain for domain in report.domains if domain.uuid == vm.uuid), None)

    def storage_ids(self, host: str) -> frozenset[str]:
        """The storage that the host's pools lie on; empty while that is not known."""
        report = self.live.get(host, HostLive()).report
        pools = report.pools if report is not None and report.pools else self.hosts[host].hello.pools
        return frozenset(pool.storage_id for pool in pools)

    def runs(self, vm: VmRecord) -> bool:
        """Whether the last report of its host shows it running."""
        domain = self.domain(vm)
        return domain is not None and domain.state == "running"

    def _host(self, record: HostRecord, now: Now, ours: frozenset[str]) -> Host:
        live = self.live.get(record.name, HostLive())
        capacity = live.report.capacity if live.report is not None else record.hello.capacity
        domains = live.report.domains if live.report is not None else ()
        state, problem = self.host_state(record.name, now)
        return Host(
            key=record.name,
            cpu=capacity.cpus,
            memory=capacity.memory_mib,
            cpu_overcommit=capacity.cpu_overcommit,
            memory_overcommit=capacity.memory_overcommit,
            labels=record.hello.labels,
            resources=capacity.resources,
            state=state,
            problem=problem,
            networks=frozenset(record.hello.networks),
            bridges=frozenset(record.hello.bridges),
            names_taken=frozenset(d.name for d in domains if d.uuid not in ours),
        )

    def _claims(self) -> Iterator[Claim]:
        moving = {op.vm_key: op for op in self.open_operations() if op.kind == "migrate"}
        for key, vm in self.vms.items():
            demand = Demand.of_spec(vm.spec)
            ends = {vm.host}
            if key in moving:
                ends |= {moving[key].source, moving[key].target}
            fixed = vm.spec.pinned or vm.adopted or vm.operation is not None
            movable = not fixed and self.runs(vm)
            for host in ends - {None}:
                assert host is not None
                yield Claim(demand=demand, host=host, movable=movable)
