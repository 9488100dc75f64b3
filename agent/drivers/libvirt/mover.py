"""Live migration: prepare the target, start or follow a migration at the source, abort it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import libvirt

from agent.drivers.libvirt import states
from agent.drivers.libvirt.connection import Connection
from agent.drivers.libvirt.disks import Disks
from agent.drivers.libvirt.domain_read import read_domain
from agent.drivers.libvirt.events import Event, EventSink, JobEnd, MigrationPass
from agent.drivers.libvirt.host import Host
from agent.drivers.libvirt.lookup import domain_by_uuid, existing_domain, job_stats
from agent.drivers.libvirt.migration import MigrationCall, connected_ahead, let_go_on
from agent.drivers.libvirt.networks import require_networks
from agent.drivers.libvirt.progress import is_outgoing, migrated, progress_of
from agent.drivers.libvirt.runtime import defined_for, make_wanted_lease
from agent.drivers.libvirt.storage import Storage
from agent.ports import DriverSettings
from agent.terms import refuse_mispinned, refuse_unfit
from protocol.commands import CommandError, Migrate, Migrated, VmPlan
from protocol.messages import MigrationProgress

_SAFE_EMULATION = 9_000_000
_PROGRESS_SECONDS = 0.5
_EAGER_SECONDS = 0.05
_SETTLE_SECONDS = 5.0
_REMEMBERED = 1000
Report = Callable[[MigrationProgress], None]


class JobEnds:
    """The last words of jobs, which libvirt says only once and only as an event."""

    def __init__(self) -> None:
        self._ends: dict[str, dict[str, Any]] = {}
        self._changed = threading.Condition()

    def receive(self, event: Event) -> None:
        """Take an event; called by the sink."""
        if isinstance(event, JobEnd):
            with self._changed:
                self._ends[event.uuid] = event.stats
                while len(self._ends) > _REMEMBERED:
                    self._ends.pop(next(iter(self._ends)))
                self._changed.notify_all()

    def forget(self, uuid: str) -> None:
        """Drop what an earlier job left."""
        with self._changed:
            self._ends.pop(uuid, None)

    def wait(self, uuid: str, seconds: float) -> dict[str, Any]:
        """The final figures, waited for up to `seconds`; empty when they do not come."""
        with self._changed:
            self._changed.wait_for(lambda: uuid in self._ends, seconds)
            return self._ends.get(uuid, {})


class LibvirtMover:
    """The Mover port."""

    def __init__(
        self,
        *,
        link: Connection,
        host: Host,
        disks: Disks,
        storage: Storage,
        sink: EventSink,
        settings: DriverSettings,
    ) -> None:
        self._link = link
        self._host = host
        self._disks = disks
        self._storage = storage
        self._sink = sink
        self._settings = settings
        self._ends = JobEnds()
        self._aborted: set[str] = set()
        sink.add_receiver(self._ends.receive)

    def prepare(self, plan: VmPlan, copy: bool) -> None:
        """Check that the domain can come, and with `copy` make its empty disks and its seed."""
        with self._link.use(f"preparing for VM {plan.spec.key}") as handle:
            if defined_for(handle, plan) is not None:
                raise CommandError(
                    "exists",
                    f"VM {plan.spec.key} is defined on this host already, so it cannot be migrated here; "
                    "nothing was changed",
                )
            context = self._host.context(handle)
            refuse_unfit(plan, context.terms)
            require_networks(plan, context, handle)
        self._storage.ensure()
        with self._link.use(f"preparing for VM {plan.spec.key}"):
            make_wanted_lease(plan, context)
        if copy:
            self._disks.make_empty(plan)
        else:
            self._disks.check_present(plan)

    def migrate(self, order: Migrate, progress: Report) -> Migrated:
        """Migrate, or follow a migration that is running; returns its final figures."""
        with self._link.use(f"migrating domain {order.uuid}") as handle:
            domain = existing_domain(handle, order.uuid)
            name = domain.name()
            running = is_outgoing(job_stats(domain))
            if not running:
                self._refuse_unfit(handle, domain, order)
                self._ends.forget(order.uuid)
                self._aborted.discard(order.uuid)
        call = None
        if not running:
            call = MigrationCall(self._link.uri, order, self._storage)
            call.start()
        last = self._watch(order, call, progress)
        if call is not None and call.error is None:
            return migrated(self._ends.wait(order.uuid, _SETTLE_SECONDS), last)
        return self._judge(order, name, last, call.error if call is not None else None)

    def abort(self, uuid: str) -> None:
        """Abort a migration away from here; fine when none runs."""
        with self._link.use(f"aborting the migration of domain {uuid}") as handle:
            domain = domain_by_uuid(handle, uuid)
            if domain is None or not is_outgoing(job_stats(domain)):
                return
            # libvirt does not tell those who follow a job why it ended.
            self._aborted.add(uuid)
            try:
                domain.abortJob()
            except libvirt.libvirtError:
                if is_outgoing(job_stats(domain)):
                    raise

    def _refuse_unfit(self, handle: Any, domain: Any, order: Migrate) -> None:
        name = domain.name()
        if not domain.isActive():
            raise CommandError(
                "refused", f"VM {name} does not run here, so it cannot be migrated live; nothing was changed"
            )
        if domain.state()[1] == states.PAUSED_MIGRATION and not domain.isPersistent():
            raise CommandError("busy", f"VM {name} is just arriving by migration; nothing was changed")
        facts = read_domain(domain.XMLDesc())
        outside = [disk for disk in facts.disks if Path(disk).parent != self._storage.path]
        if outside:
            raise CommandError(
                "unsupported",
                f"VM {name} writes to {outside[0] or 'a disk that is no file'}, which is not in the pool "
                f"{self._storage.path}, so nothing says that the target has the same disk; it goes on here",
            )
        refuse_mispinned(name, facts.pinned_nodes, order)
        emulated = facts.kind == "qemu"
        if emulated and handle.getVersion() < _SAFE_EMULATION and not self._settings.allow_old_emulation:
            raise CommandError(
                "unsupported",
                f"VM {name} runs in software emulation on a QEMU older than 9, which loses memory of busy "
                "guests in a live migration; it goes on here: install QEMU 9 or newer, or run the agent "
                "with allow_old_emulation",
            )

    def _watch(self, order: Migrate, call: MigrationCall | None, report: Report) -> MigrationProgress:
        """Report until the call has returned or, without one, the job has ended."""
        last = MigrationProgress()
        adjusted = call is None
        reported = 0.0
        pause = threading.Event() if call is None else call.done
        while not pause.wait(_PROGRESS_SECONDS if adjusted else _EAGER_SECONDS):
            try:
                stats, adjusted = self._look(order, adjusted)
            except CommandError:
                if call is None:
                    raise
                # The call has a connection of its own and ends with it: until then it may still act.
                continue
            if not is_outgoing(stats):
                if call is None:
                    break
                continue
            self._sink.put(MigrationPass(order.uuid))
            last = progress_of(stats)
            if time.monotonic() - reported >= _PROGRESS_SECONDS:
                reported = time.monotonic()
                report(last)
        return last

    def _look(self, order: Migrate, adjusted: bool) -> tuple[dict[str, Any], bool]:
        """Figures of the job, and whether its downtime limit is set, which needs a running job."""
        with self._link.use(f"following the migration of domain {order.uuid}") as handle:
            domain = domain_by_uuid(handle, order.uuid)
            if domain is None:
                return {}, adjusted
            stats = job_stats(domain)
            if not adjusted and is_outgoing(stats):
                with contextlib.suppress(libvirt.libvirtError):
                    domain.migrateSetMaxDowntime(order.max_downtime_ms)
                    adjusted = True
            return stats, adjusted

    def _judge(
        self, order: Migrate, name: str, last: MigrationProgress, error: CommandError | None
    ) -> Migrated:
        """The end of a migration whose call failed or was not ours: only where the domain is now counts."""
        uuid = order.uuid
        state = self._settled_state(uuid)
        if state == "not here" and error is None:
            # Begun by an agent that is gone: what it would have done at the end is to be done here.
            with connected_ahead(order) as target:
                let_go_on(order, target)
            return migrated(self._ends.wait(uuid, _SETTLE_SECONDS), last)
        why = error.message if error is not None else f"migrating VM {name} away ended without success"
        code = error.code if error is not None else "failed"
        if uuid in self._aborted:
            code = "aborted"
        raise CommandError(code, f"{why}; VM {name} is {state} on this host", {"state": state}) from error

    def _settled_state(self, uuid: str) -> str:
        """Where the domain stands here, once the last phase of a migration is over."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        while True:
            with self._link.use(f"looking for domain {uuid}") as handle:
                domain = domain_by_uuid(handle, uuid)
                if domain is None:
                    return "not here"
                state, reason = domain.state()
            if state != states.PAUSED or reason != states.PAUSED_MIGRATION or time.monotonic() >= deadline:
                return _WORDS.get(state, "running")
            time.sleep(_EAGER_SECONDS)


_WORDS = {states.PAUSED: "paused", states.SHUTOFF: "stopped", states.CRASHED: "crashed"}
