"""Live migration between simulated hosts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from agent.drivers.simulated.host import SimHost
from agent.drivers.simulated.images import disk_names
from agent.drivers.simulated.records import Job, SimDomain
from agent.drivers.simulated.runtime import refuse_conflict
from agent.drivers.simulated.world import HostFolder
from agent.terms import refuse_mispinned, refuse_unfit
from protocol.commands import CommandError, Migrate, Migrated, VmPlan
from protocol.messages import MigrationProgress

SHORTEST = 0.3
_POLL = 0.05
_REPORT_EVERY = 0.5
_MIB = 1024 * 1024
STORAGE_ID = "storage-id"


class SimMover:
    """The `Mover` port."""

    def __init__(self, host: SimHost) -> None:
        self._host = host

    def prepare(self, plan: VmPlan, copy: bool) -> None:
        """Make the disks that a copying migration fills."""
        host = self._host
        host.check()
        for image in (plan.image, plan.kernel_image):
            missing = host.images.missing(image)
            if missing:
                raise CommandError("not_found", f"{missing[0]} is not in the pool; nothing was prepared")
        refuse_unfit(plan, host.terms)
        refuse_conflict(host.folder, plan)
        if host.folder.read(plan.uuid) is not None:
            raise CommandError(
                "exists", f"{plan.spec.key} is defined on this host already, so it cannot be migrated here"
            )
        if copy:
            host.images.make_disks(disk_names(plan), f"copy of {plan.spec.key}\n")
        elif not host.images.has(disk_names(plan)):
            raise CommandError("not_found", f"the disks of {plan.spec.key} are not in this host's pool")

    def migrate(self, order: Migrate, progress: Callable[[MigrationProgress], None]) -> Migrated:
        """Start the migration, or follow the one that runs, to its end."""
        host = self._host
        host.check()
        target = self._target(order.target_uri)
        host.world.settle(host.clock())
        with host.world.changing():
            job = host.world.job(order.uuid)
            if job is None:
                job = self._plan(order, host.domain(order.uuid), target)
                host.world.begin(job)
        return self._follow(job, progress)

    def abort(self, uuid: str) -> None:
        """End the running migration; the domain stays here."""
        host = self._host
        host.check()
        host.world.settle(host.clock())
        with host.world.changing():
            job = host.world.job(uuid)
            if job is not None and job.source == host.folder.uuid:
                host.world.end(msgspec.structs.replace(job, outcome="aborted", reason="it was aborted"))

    def _target(self, uri: str) -> HostFolder:
        path = Path(uri.removeprefix("simulated://"))
        target = self._host.world.host(path.name)
        if not uri.startswith("simulated:///") or target.path != path or not target.exists:
            raise CommandError("failed", f"{uri} is no host of this world; the domain stays here")
        if target.uuid == self._host.folder.uuid:
            raise CommandError("refused", "the target is this host; the domain stays here")
        return target

    def _overtaken(self, job: Job) -> Migrated:
        """A later migration of the same domain has wiped out how this one ended; the domain tells."""
        if self._host.folder.read(job.uuid) is None:
            return _figures(job)
        raise CommandError("failed", f"the migration of {job.uuid} ended and the domain is here")

    def _plan(self, order: Migrate, domain: SimDomain, target: HostFolder) -> Job:
        host = self._host
        if domain.state != "running":
            raise CommandError("refused", f"{domain.name} is {domain.state}; only a running VM moves live")
        if target.down:
            raise CommandError("failed", "the target's hypervisor is away; the domain goes on here")
        if domain.behaviour("migrate") == "fail":
            raise CommandError(
                "failed", f"the migration of {domain.name} failed: its label says so; it goes on here"
            )
        refuse_mispinned(domain.name, len(domain.numa_nodes), order)
        there = target.read(domain.uuid)
        if there is not None and there.active:
            raise CommandError("exists", f"{domain.name} runs on the target as well; stop one of the two")
        self._check_disks(order, domain, target)
        speed = min(host.options.speed, order.bandwidth_mib or host.options.speed)
        seconds = max(SHORTEST, domain.memory_mib / speed)
        return Job(
            uuid=domain.uuid,
            source=host.folder.uuid,
            target=target.uuid,
            started_at=host.clock(),
            seconds=seconds,
            total=domain.memory_mib * _MIB,
            bandwidth=domain.memory_mib * _MIB / seconds,
            downtime_ms=min(order.max_downtime_ms, 50),
            numa_nodes=tuple(facts.node for facts in order.numa),
        )

    def _check_disks(self, order: Migrate, domain: SimDomain, target: HostFolder) -> None:
        if not domain.disks:
            return
        shared = (target.path / STORAGE_ID).read_text() == self._host.images.storage_id
        pool = Path((target.path / "pool-path").read_text())
        if not order.copy and not shared:
            raise CommandError(
                "failed",
                f"the target does not share the disks of {domain.name}; it goes on here, copy the disks",
            )
        if order.copy and not all((pool / name).exists() for name in domain.disks):
            raise CommandError(
                "failed", f"the target is not prepared for the disks of {domain.name}; it goes on here"
            )

    def _follow(self, job: Job, progress: Callable[[MigrationProgress], None]) -> Migrated:
        host = self._host
        reported = -_REPORT_EVERY
        while True:
            now = host.clock()
            host.world.settle(now)
            running = host.world.job(job.uuid)
            ended = host.world.ended(job.uuid)
            if ended is not None and ended.started_at == job.started_at:
                return _result(ended)
            if running is None or running.started_at != job.started_at:
                return self._overtaken(job)
            elapsed = now - job.started_at
            if elapsed - reported >= _REPORT_EVERY:
                reported = elapsed
                progress(_progress(job, elapsed))
            host.sleep(_POLL)
            host.check()


def _result(job: Job) -> Migrated:
    if job.outcome == "moved":
        return _figures(job)
    raise CommandError(
        "aborted" if job.outcome == "aborted" else "failed",
        f"the migration of {job.uuid} did not complete: {job.reason}",
    )


def _figures(job: Job) -> Migrated:
    return Migrated(
        total_ms=int(job.seconds * 1000),
        downtime_ms=job.downtime_ms,
        transferred=job.total,
        memory_total=job.total,
    )


def _progress(job: Job, elapsed: float) -> MigrationProgress:
    processed = int(job.total * min(1.0, elapsed / job.seconds))
    return MigrationProgress(
        elapsed=elapsed,
        total=job.total,
        processed=processed,
        remaining=job.total - processed,
        bandwidth=job.bandwidth,
        iteration=1,
    )
