"""Life and death of domains on this host."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import libvirt

from agent.drivers.libvirt import names, states
from agent.drivers.libvirt.connection import Connection
from agent.drivers.libvirt.consoles import tail
from agent.drivers.libvirt.disks import Disks
from agent.drivers.libvirt.domain_read import derived_spec, read_domain
from agent.drivers.libvirt.domain_xml import HostContext, domain_xml, lease_wanted
from agent.drivers.libvirt.host import Host
from agent.drivers.libvirt.locks import make_lease
from agent.drivers.libvirt.lookup import domain_by_name, domain_by_uuid, existing_domain, job_stats
from agent.drivers.libvirt.metadata import NAMESPACE, PREFIX, metadata_xml
from agent.drivers.libvirt.networks import require_networks
from agent.ports import never
from agent.terms import broken_off_error, refuse_unfit
from protocol.commands import Adopted, CommandError, ConsoleText, Inspected, Stamp, VmPlan

MAX_CONSOLE = 1024 * 1024
_POLL = 0.2
# A guest that is still booting misses the power button.
_PRESS_AGAIN = 10.0
_UNDEFINE = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
)


class LibvirtRuntime:
    """The Runtime port."""

    def __init__(self, link: Connection, host: Host, disks: Disks) -> None:
        self._link = link
        self._host = host
        self._disks = disks

    def provision(self, plan: VmPlan) -> None:
        """Make disks and seed and define the domain; one that runs already is left as it is."""
        with self._link.use(f"defining VM {plan.spec.key}") as handle:
            present = defined_for(handle, plan)
            if present is not None and present.isActive():
                _refuse_incoming(present)
                return
            context = self._host.context(handle)
            refuse_unfit(plan, context.terms)
            xml = domain_xml(plan, context)
            require_networks(plan, context, handle)
            self._disks.make(plan)
            make_wanted_lease(plan, context)
            handle.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)

    def start(self, uuid: str) -> None:
        """Start a defined domain; fine when it runs."""
        with self._link.use(f"starting domain {uuid}") as handle:
            domain = existing_domain(handle, uuid)
            if domain.isActive():
                _refuse_incoming(domain)
                return
            try:
                domain.create()
            except libvirt.libvirtError:
                # Started by a command that was repeated too soon.
                if not domain.isActive():
                    raise

    def shutdown(self, uuid: str, grace: float, force: bool, broken_off: Callable[[], bool] = never) -> None:
        """Press the power button and wait; raises CommandError("timeout") when the guest goes on."""
        with self._link.use(f"shutting domain {uuid} down") as handle:
            domain = existing_domain(handle, uuid)
            begun = time.monotonic()
            pressed = begun - _PRESS_AGAIN
            while _runs(domain):
                if broken_off():
                    raise broken_off_error(domain.name())
                now = time.monotonic()
                if now - pressed >= _PRESS_AGAIN:
                    _press(domain)
                    pressed = now
                if now - begun >= grace:
                    break
                time.sleep(min(_POLL, max(0.01, grace - (now - begun))))
            else:
                return
            if not force:
                raise CommandError(
                    "timeout",
                    f"VM {domain.name()} did not shut down within {grace:g} s and still runs; give it more "
                    "time, or stop it at once with --force",
                )
            _destroy(domain)

    def destroy(self, uuid: str, unless_running: bool = False) -> None:
        """Stop a domain at once; fine when it does not run."""
        if unless_running and self.inspect(uuid).state == "running":
            raise CommandError("refused", f"domain {uuid} runs on this host; it was not stopped")
        with self._link.use(f"stopping domain {uuid}") as handle:
            _destroy(existing_domain(handle, uuid))

    def resume(self, uuid: str) -> None:
        """Let a domain that arrived paused go on; fine when it runs."""
        with self._link.use(f"resuming domain {uuid}") as handle:
            domain = existing_domain(handle, uuid)
            _refuse_incoming(domain)
            resume_paused(domain)
            if not domain.isActive():
                raise CommandError(
                    "refused", f"VM {domain.name()} does not run on this host, so it cannot go on; start it"
                )

    def remove(self, uuid: str, disks: bool) -> tuple[str, ...]:
        """Undefine a domain that does not run; with `disks` delete its files too. Fine when it is gone."""
        with self._link.use(f"removing domain {uuid}") as handle:
            domain = domain_by_uuid(handle, uuid)
            if domain is not None:
                if domain.isActive():
                    raise CommandError(
                        "refused", f"VM {domain.name()} runs; it was not removed, stop it first"
                    )
                domain.undefineFlags(_UNDEFINE)
        return self._disks.delete(uuid) if disks else ()

    def inspect(self, uuid: str) -> Inspected:
        """Where the domain stands."""
        with self._link.use(f"inspecting domain {uuid}") as handle:
            domain = domain_by_uuid(handle, uuid)
            if domain is None:
                return Inspected(present=False)
            try:
                return _inspected(domain)
            except libvirt.libvirtError:
                # It may have gone between the look-up and the look.
                if domain_by_uuid(handle, uuid) is None:
                    return Inspected(present=False)
                raise

    def adopt(self, name: str, stamp: Stamp) -> Adopted:
        """Stamp a domain that was there before; one of another cluster is refused."""
        with self._link.use(f"adopting domain {name}") as handle:
            domain = domain_by_name(handle, name)
            if domain is None:
                raise CommandError("not_found", f"no domain named {name} is defined on this host")
            facts = read_domain(domain.XMLDesc())
            known = facts.stamped
            if known is not None and known.stamp.cluster != stamp.cluster:
                raise CommandError(
                    "exists",
                    f"domain {name} belongs to cluster {known.stamp.cluster!r}; nothing was changed, remove "
                    "it there first",
                )
            spec = known.spec if known is not None else derived_spec(facts)
            stamp_domain(domain, metadata_xml(spec, stamp))
            state = _inspected(domain).state
            return Adopted(uuid=facts.uuid, spec=spec, state=state or "shutoff", macs=facts.macs)

    def console_log(self, uuid: str, name: str, size: int) -> ConsoleText:
        """The end of the serial console; empty when the VM has not started here yet."""
        with self._link.use(f"reading the console of VM {name}") as handle:
            text = tail(names.console_log(uuid), max(1, min(size, MAX_CONSOLE)))
            if text is not None:
                return text
            if domain_by_uuid(handle, uuid) is None:
                raise CommandError("not_found", f"VM {name} is not on this host and has no console log here")
            return ConsoleText(text="", total=0)


def defined_for(handle: Any, plan: VmPlan) -> Any | None:
    """The plan's domain if defined; raises CommandError("exists") when its name or uuid is another's."""
    key = plan.spec.key
    domain = domain_by_uuid(handle, plan.uuid)
    if domain is None:
        other = domain_by_name(handle, key)
        if other is not None:
            raise CommandError(
                "exists",
                f"a domain named {key} with the uuid {other.UUIDString()} is on this host already; nothing "
                "was changed: give the VM another id, or adopt that domain",
            )
        return None
    if domain.name() != key or read_domain(domain.XMLDesc()).stamped is None:
        raise CommandError(
            "exists",
            f"the uuid {plan.uuid} of VM {key} is that of domain {domain.name()} already, which is not "
            "ours; nothing was changed",
        )
    return domain


def make_wanted_lease(plan: VmPlan, context: HostContext) -> None:
    """Have the file of the VM's lease, where it has one."""
    if context.lockspace is not None and lease_wanted(plan):
        make_lease(context.lockspace, plan.uuid)


def resume_paused(domain: Any) -> None:
    """Let a paused domain go on; another may be doing so at the same time."""
    if domain.state()[0] != states.PAUSED:
        return
    try:
        domain.resume()
    except libvirt.libvirtError:
        if domain.state()[0] == states.PAUSED:
            raise


def stamp_domain(domain: Any, xml: str) -> None:
    """Write our metadata into the running domain and its definition, which are separate."""
    flags = (libvirt.VIR_DOMAIN_AFFECT_LIVE if domain.isActive() else 0) | (
        libvirt.VIR_DOMAIN_AFFECT_CONFIG if domain.isPersistent() else 0
    )
    domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, xml, PREFIX, NAMESPACE, flags)


def _inspected(domain: Any) -> Inspected:
    state, reason = domain.state()
    persistent = bool(domain.isPersistent())
    job = job_stats(domain)
    running = job.get("type") in (states.JOB_BOUNDED, states.JOB_UNBOUNDED)
    # Without an operation it is an old libvirt, which knows no other long job of ours.
    operation = job.get("operation", states.OPERATION_MIGRATION_OUT)
    outgoing = running and operation == states.OPERATION_MIGRATION_OUT
    return Inspected(
        present=True,
        state=states.domain_state(state, reason, persistent=persistent, outgoing=outgoing),
        persistent=persistent,
        handed_over=persistent and states.handed_over(state, reason),
        job=running and operation in (states.OPERATION_MIGRATION_OUT, states.OPERATION_MIGRATION_IN),
    )


def _refuse_incoming(domain: Any) -> None:
    if _inspected(domain).state == "incoming":
        raise CommandError(
            "busy", f"VM {domain.name()} is just arriving by migration; nothing was done to it"
        )


def _runs(domain: Any) -> bool:
    try:
        return bool(domain.isActive())
    except libvirt.libvirtError as error:
        # A transient domain is gone once it has stopped.
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return False
        raise


def _press(domain: Any) -> None:
    try:
        domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)
    except libvirt.libvirtError as error:
        # A paused guest cannot be asked, but may go on within the time that it is given.
        if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:
            raise


def _destroy(domain: Any) -> None:
    if not _runs(domain):
        return
    try:
        domain.destroy()
    except libvirt.libvirtError:
        if _runs(domain):
            raise
