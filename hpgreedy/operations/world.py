"""The cluster as the head node knows it: durable records, and what hosts reported last.

Only `Context` and the engine change it; everything else reads.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

import msgspec

from hpgreedy.model import Cluster, HostState
from hpgreedy.operations.capacity import LiveFleet, all_claims, host_of
from hpgreedy.operations.cpu import baseline_of
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
from hpgreedy.operations.table import Table
from hpgreedy.placement import Fleet, Limits
from hpgreedy.placement.makeroom.plan import no_clock
from hpgreedy.placement.restart import Admission, Restarts
from protocol.messages import DomainReport, PoolFacts, Report


class Now(msgspec.Struct, frozen=True):
    """The time: `wall` for people and deadlines, `mono` (never steps) for liveness; seconds."""

    wall: float
    mono: float


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator set for the cluster.

    growth: factor between a VM's size and the maximum it can grow to, where it names none.
    host_timeout: seconds of silence after which a host counts as unreachable.
    room_depth, room_seconds: the most live migrations that make room for a VM, and how long a request may
    look for them. decide_seconds: how long a request may take that places VMs; nobody else is answered
    meanwhile. admission: whether VMs are let in that leave others with nowhere to restart.
    keep_operations: days for which operations that have ended are kept. most_operations: the most of them
    that are kept.
    """

    algorithm: str = "greedy"
    default_image: str | None = None
    growth: float = 2.0
    host_timeout: float = 8.0
    resend_after: float = 3.0
    command_ttl: float = 120.0
    migration_ttl: float = 3600.0
    room_depth: int = 2
    room_seconds: float = 1.0
    decide_seconds: float = 4.0
    admission: Admission = Admission.OFF
    keep_operations: float = 30.0
    most_operations: int = 50_000


HELD_AHEAD = frozenset({"pending", "making_room"})
"""States of operations whose room is held at their target while others still have it."""
SETTLING = 5.0
"""Seconds after an operation in which a report may still be older than the operation's end."""


class HostLive(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """What is known of a host right now; gone with the process."""

    heard: float | None = None
    heard_wall: float | None = None
    left: bool = False
    report: Report | None = None

    @cached_property
    def domains(self) -> dict[str, DomainReport]:
        """The domains of the last report by uuid."""
        return {} if self.report is None else {domain.uuid: domain for domain in self.report.domains}

    @cached_property
    def names(self) -> dict[str, str]:
        """Their names by uuid."""
        return {uuid: domain.name for uuid, domain in self.domains.items()}

    def offers_as(self, other: HostLive) -> bool:
        """Whether placement would see no difference, apart from which VMs run."""
        if (self.heard is None, self.left) != (other.heard is None, other.left):
            return False
        here, there = self.report, other.report
        if here is None or there is None:
            return here is there
        return (
            (here.capacity, here.hypervisor_up, here.problem)
            == (there.capacity, there.hypervisor_up, there.problem)
            and [pool.name for pool in here.pools] == [pool.name for pool in there.pools]
            and self.names == other.names
        )


NOT_HEARD = HostLive()


class World:
    """Records by kind and key, and the live state of hosts by name.

    open: the operations that have not ended; ahead: those that hold room which others must leave first.
    by_uuid, on_host: the keys of VMs by their domain's uuid and by the host they are on. macs: the key of the
    VM that has an address. cpu_percent: by domain uuid, 100 = one CPU. settled: by VM key, when its last
    operation ended (monotonic seconds). clock: monotonic seconds, for what may take only so
    long; it stands still in a replay.
    """

    def __init__(self, meta: Meta, settings: Settings, clock: Callable[[], float] = no_clock) -> None:
        self.meta = meta
        self.settings = settings
        self.clock = clock
        self.open: dict[int, None] = {}
        self.ahead: dict[int, None] = {}
        self.by_uuid: dict[str, str] = {}
        self.on_host: dict[str, dict[str, None]] = {}
        self.macs: dict[str, str] = {}
        self.images: dict[str, ImageRecord] = {}
        self.keys: dict[str, KeyRecord] = {}
        self.requests: dict[str, RequestRecord] = {}
        self.cpu_percent: dict[str, float] = {}
        self.settled: dict[str, float] = {}
        self._fleet = LiveFleet(self)
        self._restarts: Restarts | None = None
        self._reported: dict[str, dict[str, None]] = {}
        self._deadlines: list[tuple[float, str]] = []
        self._silent: set[str] = set()
        self._baseline: tuple[str | None] | None = None
        self.live: Table[str, HostLive] = Table(self._live_changed)
        self.hosts: Table[str, HostRecord] = Table(self._host_changed)
        self.operations: Table[int, OperationRecord] = Table(self._operation_changed)
        self.vms: Table[str, VmRecord] = Table(self._vm_changed)

    @classmethod
    def load(
        cls,
        stored: Mapping[str, Mapping[str, dict[str, Any]]],
        settings: Settings,
        fallback: Meta,
        clock: Callable[[], float] = no_clock,
    ) -> World:
        """The world of a store's records; `fallback` is the Meta of a cluster that is new.

        Raises SpecError when a record is damaged.
        """
        records: dict[str, dict[str, Any]] = {
            name: {key: from_value(kind, value) for key, value in stored.get(name, {}).items()}
            for name, kind in KINDS.items()
        }
        world = cls(records["meta"].get("cluster", fallback), settings, clock)
        for host in sorted(records["host"].values(), key=lambda host: host.joined):
            world.hosts[host.name] = host
        for op in sorted(records["operation"].values(), key=lambda op: op.id):
            world.operations[op.id] = op
        for vm in sorted(records["vm"].values(), key=lambda vm: vm.created):
            world.vms[vm.key] = vm
        world.images, world.keys = records["image"], records["key"]
        world.requests = records["request"]
        return world

    def open_operations(self) -> Iterator[OperationRecord]:
        """Those that have not ended, oldest first."""
        return (self.operations[number] for number in sorted(self.open))

    def live_of(self, host: str) -> HostLive:
        """What is known of the host right now."""
        return self.live.get(host, NOT_HEARD)

    def heard_lately(self, host: str, now: Now) -> bool:
        """Whether the host has said anything within the time after which it counts as unreachable."""
        heard = self.live_of(host).heard
        return heard is not None and now.mono <= heard + self.settings.host_timeout

    def settling(self, vm: VmRecord, now: Now) -> bool:
        """Whether the VM's last operation ended so recently that reports may be older."""
        return now.mono - self.settled.get(vm.key, float("-inf")) < SETTLING

    def host_state(self, name: str, now: Now) -> tuple[HostState, str]:
        """The host's state and, when it is not up, why."""
        record, live = self.hosts[name], self.live_of(name)
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

    def restarts(self, now: Now) -> Restarts:
        """Where VMs would be restarted if a host died; kept, like the fleet."""
        fleet = self.fleet(now)
        if self._restarts is None:
            self._restarts = Restarts(fleet)
        return self._restarts

    def fleet(self, now: Now) -> Fleet:
        """Hosts and everything that holds capacity on them: kept and brought up to date, so cheap to ask.

        Whoever changes claims in it to try something calls `tried` first; the next call puts them back.
        """
        while self._deadlines and self._deadlines[0][0] < now.mono:
            _, name = heapq.heappop(self._deadlines)
            if self.heard_lately(name, now):
                self._watch(name)
            else:
                self._silent.add(name)
                self._fleet.host_changed(name)
        return self._fleet.current(now)

    def tried(self, *keys: str) -> None:
        """The claims of these VMs are about to be changed in the fleet itself."""
        self._fleet.tried(keys)

    def cluster(self, now: Now) -> Cluster:
        """The same as a value, made from the records."""
        hosts = {name: host_of(self, record, now) for name, record in self.hosts.items()}
        return Cluster(hosts=hosts, claims=tuple(all_claims(self)))

    def limits(self, seconds: float | None = None) -> Limits:
        """What a search for room is limited by; `seconds` when less than the whole time is left."""
        return Limits(
            depth=self.settings.room_depth,
            seconds=self.settings.room_seconds if seconds is None else seconds,
            clock=self.clock,
            packing_seconds=self.settings.room_seconds / 2,
        )

    def domain(self, vm: VmRecord) -> DomainReport | None:
        """The VM's domain in the last report of its host."""
        return None if vm.host is None else self.live_of(vm.host).domains.get(vm.uuid)

    def pools(self, host: str) -> tuple[PoolFacts, ...]:
        """The host's storage pools as far as they are known."""
        report = self.live_of(host).report
        return report.pools if report is not None and report.pools else self.hosts[host].hello.pools

    def storage_ids(self, host: str) -> frozenset[str]:
        """The storage that the host's pools lie on; empty while that is not known."""
        return frozenset(pool.storage_id for pool in self.pools(host))

    def runs(self, vm: VmRecord) -> bool:
        """Whether the last report of its host shows it running."""
        domain = self.domain(vm)
        return domain is not None and domain.state == "running"

    def baseline(self) -> str | None:
        """The richest CPU model that every KVM host of the cluster offers; None without such hosts."""
        if self._baseline is None:
            self._baseline = (baseline_of(record.hello for record in self.hosts.values()),)
        return self._baseline[0]

    # What follows from a change

    def _host_changed(self, name: str, before: HostRecord | None, after: HostRecord | None) -> None:
        self._baseline = None
        self._fleet.host_changed(name)

    def _operation_changed(
        self, number: int, before: OperationRecord | None, after: OperationRecord | None
    ) -> None:
        if after is not None and not after.done:
            self.open[number] = None
        else:
            self.open.pop(number, None)
        if after is not None and after.state in HELD_AHEAD:
            self.ahead[number] = None
        else:
            self.ahead.pop(number, None)
        for op in (before, after):
            if op is not None and op.kind == "migrate":
                self._fleet.vm_changed(op.vm_key)

    def _vm_changed(self, key: str, before: VmRecord | None, after: VmRecord | None) -> None:
        self._fleet.vm_changed(key)
        if before is not None:
            self.by_uuid.pop(before.uuid, None)
            if before.host is not None:
                self.on_host[before.host].pop(key, None)
            for mac in before.macs:
                if self.macs.get(mac) == key:
                    del self.macs[mac]
        if after is not None:
            self.by_uuid[after.uuid] = key
            if after.host is not None:
                self.on_host.setdefault(after.host, {})[key] = None
            self.macs.update(dict.fromkeys(after.macs, key))
        if before is None or after is None or before.uuid != after.uuid:
            # Whether a domain is foreign has changed.
            for vm in (before, after):
                for name in self._reported.get(vm.uuid, ()) if vm is not None else ():
                    self._fleet.host_changed(name)

    def _live_changed(self, name: str, before: HostLive | None, after: HostLive | None) -> None:
        before, after = before or NOT_HEARD, after or NOT_HEARD
        if before.heard is None or name in self._silent:
            self._silent.discard(name)
            self._watch(name)
            self._fleet.host_changed(name)
        elif not after.offers_as(before):
            self._fleet.host_changed(name)
        old, new = before.domains, after.domains
        for uuid in old.keys() - new.keys():
            self._reported[uuid].pop(name, None)
            if not self._reported[uuid]:
                del self._reported[uuid]
        for uuid in new.keys() - old.keys():
            self._reported.setdefault(uuid, {})[name] = None
        for uuid in old.keys() | new.keys():
            was, now = old.get(uuid), new.get(uuid)
            if (was is not None and was.state) != (now is not None and now.state) and uuid in self.by_uuid:
                self._fleet.vm_changed(self.by_uuid[uuid])

    def _watch(self, name: str) -> None:
        """Look at the host when it would be silent too long, if nothing is heard of it until then."""
        heard = self.live_of(name).heard
        if heard is not None:
            heapq.heappush(self._deadlines, (heard + self.settings.host_timeout, name))
