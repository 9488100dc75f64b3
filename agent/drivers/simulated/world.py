"""The world folder: hosts, their domains and the migrations between them, changed one at a time."""

from __future__ import annotations

import contextlib
import fcntl
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from agent.drivers.simulated.records import Job, SimDomain

T = TypeVar("T")


def write_json(path: Path, value: object) -> None:
    """Replace a file whole; a reader sees the old or the new content."""
    temporary = path.parent / f".{path.name}.{secrets.token_hex(6)}"
    temporary.write_bytes(msgspec.json.encode(value))
    temporary.replace(path)


def read_json(path: Path, kind: type[T]) -> T | None:
    """The content, or None when the file is not there."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None


class HostFolder:
    """One host of the world, named by its hypervisor uuid."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.uuid = path.name
        self.domains = path / "domains"

    @property
    def exists(self) -> bool:
        """Whether an agent has ever made this host."""
        return self.domains.is_dir()

    @property
    def down(self) -> bool:
        """Whether its hypervisor is away: a file ``down`` in the folder says so."""
        return (self.path / "down").exists()

    def make(self) -> None:
        """Make the folder."""
        self.domains.mkdir(parents=True, exist_ok=True)

    def file(self, uuid: str) -> Path:
        """Where a domain of this host is kept."""
        return self.domains / f"{uuid}.json"

    def read(self, uuid: str) -> SimDomain | None:
        """A domain, or None."""
        return read_json(self.file(uuid), SimDomain)

    def write(self, domain: SimDomain) -> None:
        """Define or replace a domain."""
        write_json(self.file(domain.uuid), domain)

    def delete(self, uuid: str) -> None:
        """Forget a domain."""
        self.file(uuid).unlink(missing_ok=True)

    def all(self) -> list[SimDomain]:
        """All domains, by name."""
        found = (self.read(path.stem) for path in self.domains.glob("[!.]*.json"))
        return sorted((domain for domain in found if domain is not None), key=lambda d: d.name)

    def changed_at(self) -> int:
        """Changes whenever a domain of this host does (nanoseconds of the folder's last change)."""
        try:
            return self.domains.stat().st_mtime_ns
        except FileNotFoundError:
            return 0


class World:
    """All hosts that can migrate to one another."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._jobs = root / "jobs"
        self._ended = root / "ended"

    def make(self) -> None:
        """Make the folders."""
        for folder in (self.root / "hosts", self._jobs, self._ended):
            folder.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Nobody else, in any process, changes the world within the block. Must not be nested."""
        with (self.root / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def host(self, uuid: str) -> HostFolder:
        """A host by its hypervisor uuid."""
        return HostFolder(self.root / "hosts" / uuid)

    def hosts(self) -> list[HostFolder]:
        """All hosts."""
        return [HostFolder(path) for path in sorted((self.root / "hosts").iterdir()) if path.is_dir()]

    def running_at(self, uuid: str) -> HostFolder | None:
        """The host on which a domain runs: what a lock on its disk would tell."""
        for host in self.hosts():
            domain = host.read(uuid)
            if domain is not None and domain.active:
                return host
        return None

    def job(self, uuid: str) -> Job | None:
        """The running migration of a domain."""
        return read_json(self._jobs / f"{uuid}.json", Job)

    def begin(self, job: Job) -> None:
        """Start a migration; call within `changing`."""
        (self._ended / f"{job.uuid}.json").unlink(missing_ok=True)
        write_json(self._jobs / f"{job.uuid}.json", job)

    def end(self, job: Job) -> None:
        """Record how a migration ended; call within `changing`."""
        write_json(self._ended / f"{job.uuid}.json", job)
        (self._jobs / f"{job.uuid}.json").unlink(missing_ok=True)

    def ended(self, uuid: str) -> Job | None:
        """The last migration of a domain."""
        return read_json(self._ended / f"{uuid}.json", Job)

    def settle(self, now: float) -> None:
        """Carry out what is due; any agent of the world may do it, so a dead one holds nothing up."""
        names = [path.stem for path in self._jobs.glob("[!.]*.json")]
        if not names:
            return
        with self.changing():
            for name in names:
                job = self.job(name)
                if job is not None:
                    self._settle(job, now)

    def _settle(self, job: Job, now: float) -> None:
        source, target = self.host(job.source), self.host(job.target)
        here = source.read(job.uuid)
        if here is None:
            arrived = target.read(job.uuid) is not None
            self.end(_ended(job, "moved" if arrived else "failed", "the domain vanished"))
        elif here.state != "running":
            self.end(_ended(job, "failed", f"the domain is {here.state} at the source"))
        elif target.down:
            self.end(
                _ended(job, "failed", "the target's hypervisor is away; the domain goes on at the source")
            )
        elif job.due(now):
            if here.numa_nodes != job.numa_nodes:
                # Before the move, which is one step: a domain never stands on two hosts.
                source.write(msgspec.structs.replace(here, numa_nodes=job.numa_nodes))
            source.file(job.uuid).rename(target.file(job.uuid))
            self.end(_ended(job, "moved", ""))


def _ended(job: Job, outcome: Literal["moved", "aborted", "failed"], reason: str) -> Job:
    return msgspec.structs.replace(job, outcome=outcome, reason="" if outcome == "moved" else reason)
