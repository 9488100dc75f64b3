"""Figures of the host and its domains; cheap enough for every second."""

from __future__ import annotations

import threading
import time
from typing import Any

import libvirt
import msgspec
import psutil

from agent.drivers.libvirt import states
from agent.drivers.libvirt.connection import Connection
from agent.drivers.libvirt.domain_read import DomainFacts, read_domain
from agent.drivers.libvirt.events import Event, EventSink, MigrationPass
from agent.drivers.libvirt.links import devices, uplinks_of
from agent.drivers.libvirt.lookup import domain_by_uuid, job_stats
from agent.drivers.libvirt.progress import is_outgoing
from agent.drivers.libvirt.reports import report_of
from protocol.messages import Capacity, DomainReport, Usage

_FACTS_SECONDS = 30.0
_UPLINKS_SECONDS = 60.0
_MIB = 1024 * 1024


class _Known(msgspec.Struct, frozen=True):
    facts: DomainFacts | None
    until: float
    generation: int


class FactsCache:
    """What the domains' XML says, read again when an event says that it changed, or after a while."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}
        self._generation: dict[str, int] = {}

    def changed(self, uuid: str) -> None:
        """Have the domain read anew."""
        with self._lock:
            self._generation[uuid] = self._generation.get(uuid, 0) + 1

    def get(self, domain: Any, uuid: str, now: float) -> DomainFacts | None:
        """Facts of a domain; None when its XML cannot be read, for instance because it just went."""
        with self._lock:
            generation = self._generation.get(uuid, 0)
            known = self._known.get(uuid)
        if known is not None and known.until > now and known.generation == generation:
            return known.facts
        try:
            facts = read_domain(domain.XMLDesc())
        except ValueError:
            facts = None
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return None
            raise
        with self._lock:
            self._known[uuid] = _Known(facts, now + _FACTS_SECONDS, generation)
        return facts

    def keep_only(self, uuids: set[str]) -> None:
        """Forget domains that are gone."""
        with self._lock:
            self._known = {uuid: known for uuid, known in self._known.items() if uuid in uuids}
            self._generation = {uuid: n for uuid, n in self._generation.items() if uuid in uuids}


class LibvirtMeter:
    """The Meter port."""

    def __init__(self, link: Connection, sink: EventSink) -> None:
        self._link = link
        self._facts = FactsCache()
        self._lock = threading.Lock()
        self._maybe_outgoing: set[str] = set()
        self._check_all = True
        self._uplinks: tuple[str, ...] = ()
        self._uplinks_until = 0.0
        self._network: tuple[float, int, int] | None = None
        sink.add_receiver(self._receive)

    def reconnected(self) -> None:
        """Events were missed: look at everything once."""
        with self._lock:
            self._check_all = True
        self._facts.keep_only(set())

    def capacity(self) -> Capacity:
        """The host's CPUs and memory in MiB: the smaller of what libvirt and the kernel say."""
        with self._link.use("reading the host's size") as handle:
            info = handle.getInfo()
        return Capacity(cpus=info[2], memory_mib=min(info[1], psutil.virtual_memory().total // _MIB))

    def domains(self) -> tuple[DomainReport, ...]:
        """All domains, ours and foreign."""
        wanted = (
            libvirt.VIR_DOMAIN_STATS_STATE
            | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
            | libvirt.VIR_DOMAIN_STATS_BALLOON
            | libvirt.VIR_DOMAIN_STATS_VCPU
        )
        now = time.monotonic()
        with self._link.use("listing the domains") as handle:
            transient = {
                domain.UUIDString()
                for domain in handle.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_TRANSIENT)
            }
            # Never wait for a domain that is busy: its figures are left out for once.
            rows = handle.getAllDomainStats(wanted, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT)
            outgoing = self._outgoing(handle, rows)
            reports = []
            for domain, stats in rows:
                uuid = domain.UUIDString()
                facts = self._facts.get(domain, uuid, now)
                reports.append(
                    report_of(
                        uuid,
                        domain.name(),
                        stats,
                        facts,
                        persistent=uuid not in transient,
                        outgoing=uuid in outgoing,
                    )
                )
        self._facts.keep_only({report.uuid for report in reports})
        return tuple(reports)

    def usage(self) -> Usage:
        """Percent of all CPUs and bytes a second since the last call, memory in MiB."""
        memory = psutil.virtual_memory()
        receive, send = self._network_rates(time.monotonic())
        return Usage(
            cpu_percent=psutil.cpu_percent(interval=None),
            memory_used_mib=(memory.total - memory.available) // _MIB,
            load1=psutil.getloadavg()[0],
            net_receive=receive,
            net_send=send,
        )

    def _receive(self, event: Event) -> None:
        if isinstance(event, MigrationPass):
            with self._lock:
                self._maybe_outgoing.add(event.uuid)
        else:
            self._facts.changed(event.uuid)

    def _outgoing(self, handle: Any, rows: list[tuple[Any, dict[str, Any]]]) -> set[str]:
        """Domains with a migration away from here; only those under suspicion are asked."""
        active = {
            domain.UUIDString()
            for domain, stats in rows
            if stats.get("state.state") not in (states.SHUTOFF, states.CRASHED)
        }
        with self._lock:
            suspects = set(active) if self._check_all else self._maybe_outgoing & active
            self._check_all = False
        found = set()
        for uuid in suspects:
            domain = domain_by_uuid(handle, uuid)
            if domain is not None and is_outgoing(job_stats(domain)):
                found.add(uuid)
        with self._lock:
            self._maybe_outgoing = (self._maybe_outgoing - suspects) | found
        return found

    def _network_rates(self, now: float) -> tuple[float, float]:
        with self._lock:
            if now >= self._uplinks_until:
                self._uplinks, self._uplinks_until = uplinks_of(devices()), now + _UPLINKS_SECONDS
            counters = psutil.net_io_counters(pernic=True, nowrap=False)
            received = sum(counters[name].bytes_recv for name in self._uplinks if name in counters)
            sent = sum(counters[name].bytes_sent for name in self._uplinks if name in counters)
            before, self._network = self._network, (now, received, sent)
        if before is None or now <= before[0]:
            return 0.0, 0.0
        seconds = now - before[0]
        return max(0.0, (received - before[1]) / seconds), max(0.0, (sent - before[2]) / seconds)
