"""Life and death of simulated domains."""

from __future__ import annotations

import math
import uuid as uuids
from collections.abc import Callable

import msgspec

from agent.drivers.simulated.host import SimHost
from agent.drivers.simulated.images import disk_names
from agent.drivers.simulated.records import SimDomain
from agent.drivers.simulated.world import HostFolder
from agent.ports import never
from agent.terms import broken_off_error, refuse_unfit
from protocol.commands import Adopted, CommandError, ConsoleText, Inspected, Stamp, VmPlan
from protocol.spec import Memory, VmSpec, decode_spec, encode_spec
from protocol.spec.fields import is_name

SHUTDOWN_SECONDS = 0.2
_POLL = 0.1


class SimRuntime:
    """The `Runtime` port."""

    def __init__(self, host: SimHost) -> None:
        self._host = host

    def provision(self, plan: VmPlan) -> None:
        """Define the domain, with its disks."""
        host = self._host
        host.check()
        for image in (plan.image, plan.kernel_image):
            missing = host.images.missing(image)
            if missing:
                raise CommandError("not_found", f"{missing[0]} is not in the pool; nothing was made")
        with host.world.changing():
            refuse_conflict(host.folder, plan)
            known = host.folder.read(plan.uuid)
            if known is not None and known.active:
                return
            refuse_unfit(plan, host.terms)
            names = disk_names(plan)
            host.images.make_disks(names, f"disk of {plan.spec.key}\n")
            host.folder.write(
                SimDomain(
                    uuid=plan.uuid,
                    name=plan.spec.key,
                    state="shutoff",
                    cpus=plan.spec.cpu,
                    memory_mib=plan.spec.memory.mib,
                    max_memory_mib=plan.max_memory_mib,
                    macs=plan.macs,
                    spec=encode_spec(plan.spec),
                    stamp=plan.stamp,
                    disks=names,
                    cpu_model=plan.cpu_model or "",
                    numa_nodes=plan.numa_nodes,
                )
            )

    def start(self, uuid: str) -> None:
        """Start it, unless it runs anywhere in the world."""
        host = self._host
        host.check()
        with host.world.changing():
            domain = host.domain(uuid)
            if domain.active:
                return
            if domain.behaviour("start") == "fail":
                raise CommandError(
                    "failed", f"{domain.name} did not start: its label says so; it stays defined"
                )
            if not host.images.has(domain.disks):
                raise CommandError(
                    "failed", f"{domain.name} did not start: a disk is missing; it stays defined"
                )
            holder = host.world.running_at(uuid)
            if holder is not None:
                raise CommandError(
                    "busy",
                    f"{domain.name} did not start: it runs on the host {holder.uuid}, which holds its lock",
                )
            host.folder.write(
                msgspec.structs.replace(
                    domain, state="running", start_id=uuids.uuid4().hex[:12], started_at=host.clock()
                )
            )

    def shutdown(self, uuid: str, grace: float, force: bool, broken_off: Callable[[], bool] = never) -> None:
        """Ask the guest; one with the label ``simulated.shutdown=ignore`` does not listen."""
        host = self._host
        host.check()
        domain = host.domain(uuid)
        needs = math.inf if domain.behaviour("shutdown") == "ignore" else SHUTDOWN_SECONDS
        asked = host.clock()
        while host.domain(uuid).active:
            if broken_off():
                raise broken_off_error(domain.name)
            waited = host.clock() - asked
            if waited >= needs:
                return self._stop(uuid)
            if waited >= grace:
                if force:
                    return self._stop(uuid)
                raise CommandError(
                    "timeout",
                    f"{domain.name} did not shut down within {grace:g} s and goes on running; "
                    "look into the guest, or force it",
                )
            host.sleep(_POLL)
            host.check()
        return None

    def destroy(self, uuid: str, unless_running: bool = False) -> None:
        """Stop it at once."""
        if unless_running and self.inspect(uuid).state == "running":
            raise CommandError("refused", f"domain {uuid} runs on this host; it was not stopped")
        self._host.check()
        self._stop(uuid)

    def resume(self, uuid: str) -> None:
        """Let it go on when it is paused."""
        host = self._host
        host.check()
        with host.world.changing():
            domain = host.domain(uuid)
            if not domain.active:
                raise CommandError("refused", f"{domain.name} does not run here, so it cannot go on")
            if domain.state == "paused":
                host.folder.write(msgspec.structs.replace(domain, state="running"))

    def remove(self, uuid: str, disks: bool) -> tuple[str, ...]:
        """Undefine it and delete its files."""
        host = self._host
        host.check()
        with host.world.changing():
            domain = host.folder.read(uuid)
            if domain is not None and domain.active:
                raise CommandError(
                    "refused", f"{domain.name} is {domain.state}; it must be stopped to be removed"
                )
            host.folder.delete(uuid)
            return host.images.delete_disks(uuid) if disks else ()

    def inspect(self, uuid: str) -> Inspected:
        """Where it stands."""
        host = self._host
        host.check()
        host.world.settle(host.clock())
        domain = host.folder.read(uuid)
        if domain is None:
            return Inspected(present=False)
        job = host.world.job(uuid)
        moving = job is not None and job.source == host.folder.uuid
        return Inspected(present=True, state=domain.state, persistent=True, job=moving)

    def adopt(self, name: str, stamp: Stamp) -> Adopted:
        """Stamp it and derive its spec."""
        host = self._host
        host.check()
        with host.world.changing():
            domain = next((found for found in host.folder.all() if found.name == name), None)
            if domain is None:
                raise CommandError("not_found", f"there is no domain named {name} on this host")
            if domain.stamp is not None and domain.stamp.cluster != stamp.cluster:
                raise CommandError("exists", f"{name} belongs to the cluster {domain.stamp.cluster}")
            if not is_name(name):
                raise CommandError("unsupported", f"the name {name!r} cannot be a VM's id; rename the domain")
            spec = _spec_of(domain)
            host.folder.write(msgspec.structs.replace(domain, spec=encode_spec(spec), stamp=stamp))
        return Adopted(uuid=domain.uuid, spec=spec, state=domain.state, macs=domain.macs)

    def console_log(self, uuid: str, name: str, size: int) -> ConsoleText:
        """What the guest would have printed: its start, then a count of seconds."""
        host = self._host
        host.check()
        domain = host.domain(uuid)
        if not domain.start_id:
            return ConsoleText(text="", total=0)
        text = f"hpg-guest: booted start_id={domain.start_id}\n"
        until = host.clock() if domain.active else domain.stopped_at
        seconds = int(max(0.0, until - domain.started_at))
        text += "".join(f"hpg-guest: count={n}\n" for n in range(1, seconds + 1))
        return ConsoleText(text=text[-size:] if size > 0 else "", total=len(text))

    def _stop(self, uuid: str) -> None:
        with self._host.world.changing():
            domain = self._host.domain(uuid)
            if domain.active:
                now = self._host.clock()
                self._host.folder.write(msgspec.structs.replace(domain, state="shutoff", stopped_at=now))


def _spec_of(domain: SimDomain) -> VmSpec:
    if domain.stamp is not None and domain.spec is not None:
        return decode_spec(domain.spec, VmSpec)
    return VmSpec(
        id=domain.name,
        cpu=domain.cpus,
        memory=Memory(domain.memory_mib),
        max_memory=Memory(max(domain.max_memory_mib, domain.memory_mib)),
    )


def refuse_conflict(folder: HostFolder, plan: VmPlan) -> None:
    """Raise CommandError("exists") when the plan's name or uuid is another domain's."""
    for other in folder.all():
        same_name, same_uuid = other.name == plan.spec.key, other.uuid == plan.uuid
        if same_name != same_uuid or (same_uuid and other.stamp is None):
            raise CommandError(
                "exists",
                f"the domain {other.name} with the uuid {other.uuid} is here already; nothing was changed",
            )
