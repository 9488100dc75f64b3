"""The ports an agent works through; each has a libvirt and a simulated driver that pass the same tests.

All methods block and are called from worker threads, several at a time; they raise
`protocol.commands.CommandError` and nothing else. Actions are idempotent (see `protocol.commands`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from protocol.commands import Adopted, ConsoleText, Inspected, Migrate, Migrated, Stamp, VmPlan
from protocol.messages import (
    Accelerator,
    Capacity,
    DomainEvent,
    DomainReport,
    MigrationProgress,
    NumaFacts,
    PoolFacts,
    Usage,
)
from protocol.spec import ImageFile, ImageManifest

ReadChunk = Callable[[str, ImageFile, int, int], bytes]
"""(image name, file, offset, length) → bytes from the coordinator."""


class HostFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a driver knows of its host once connected; the last three as in `protocol.messages.Hello`."""

    hypervisor_uuid: str
    accelerator: Accelerator
    networks: tuple[str, ...]
    bridges: tuple[str, ...]
    versions: dict[str, str]
    migrate_uri: str
    cpu_models: tuple[str, ...] = ()
    numa: tuple[NumaFacts, ...] = ()
    guards: dict[str, str] = {}


def never() -> bool:
    """Nobody breaks it off."""
    return False


class Runtime(Protocol):
    """Life and death of domains on this host."""

    def provision(self, plan: VmPlan) -> None:
        """Make disks and seed (images are there already) and define the domain, stamped."""

    def start(self, uuid: str) -> None:
        """Start a defined domain."""

    def shutdown(self, uuid: str, grace: float, force: bool, broken_off: Callable[[], bool] = never) -> None:
        """Ask the guest to stop, wait up to `grace` seconds, then destroy only if `force`.

        Raises CommandError("aborted"), and destroys nothing, soon after `broken_off` says so.
        """

    def destroy(self, uuid: str, unless_running: bool = False) -> None:
        """Stop a domain at once; with `unless_running` refuse when it runs."""

    def resume(self, uuid: str) -> None:
        """Let a domain that arrived paused go on; fine when it runs."""

    def remove(self, uuid: str, disks: bool) -> tuple[str, ...]:
        """Undefine a stopped domain and delete its own files; returns the deleted paths."""

    def inspect(self, uuid: str) -> Inspected:
        """Where the domain stands."""

    def adopt(self, name: str, stamp: Stamp) -> Adopted:
        """Stamp a foreign domain as ours and derive its spec."""

    def console_log(self, uuid: str, name: str, size: int) -> ConsoleText:
        """The end of its serial console."""


class Mover(Protocol):
    """Live migration."""

    def prepare(self, plan: VmPlan, copy: bool) -> None:
        """Make this host ready to receive the domain."""

    def migrate(self, order: Migrate, progress: Callable[[MigrationProgress], None]) -> Migrated:
        """Migrate and report progress about twice a second; returns the final figures.

        When a migration of this domain is already running (an earlier agent started it), follow that one.
        """

    def abort(self, uuid: str) -> None:
        """Abort a running migration."""


class Meter(Protocol):
    """Figures of the host and its domains; cheap enough for every second."""

    def capacity(self) -> Capacity:
        """What the hypervisor says the host has: cpus and memory in MiB, nothing subtracted."""

    def domains(self) -> tuple[DomainReport, ...]:
        """All domains, ours and foreign."""

    def usage(self) -> Usage:
        """What the hardware is doing."""


class Images(Protocol):
    """Image files in this host's pool."""

    def pools(self) -> tuple[PoolFacts, ...]:
        """The pool VMs live in, with its `storage_id`."""

    def ensure(self, image: ImageManifest, read: ReadChunk) -> None:
        """Have all files of the image in the pool, checked against their sha256."""

    def delete(self, image: ImageManifest) -> None:
        """Delete the image's files."""


class Driver(Protocol):
    """A hypervisor: the ports above and its connection."""

    runtime: Runtime
    mover: Mover
    meter: Meter
    images: Images

    def connect(self, on_event: Callable[[DomainEvent], None], on_close: Callable[[str], None]) -> HostFacts:
        """Connect within a few seconds or raise CommandError("hypervisor_down"); make the pool.

        `on_event` and `on_close` are called from any thread. May be called again after on_close.
        """

    def close(self) -> None:
        """Let go of the connection; domains go on."""

    def alive(self) -> bool:
        """Whether the connection stands."""


class DriverSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What composition gives a driver.

    hypervisor: a libvirt URI, or ``simulated``. address: where other hosts reach this one.
    accelerator: auto, kvm or qemu. probe_kernel: kernel that the KVM probe boots, None = look in /boot.
    allow_old_emulation: live-migrate emulated guests on a QEMU older than 9.
    offer_cpu: the CPU model that caps what guests are given, empty = no cap.
    """

    hypervisor: str
    address: str
    state: Path
    pool: str = "hpgreedy"
    pool_path: Path = Path("/var/lib/hpgreedy/pool")
    migration_transport: str = "tls"
    bridge: str | None = None
    network: str | None = None
    accelerator: str = "auto"
    probe_kernel: Path | None = None
    allow_old_emulation: bool = False
    offer_cpu: str = ""
    host_name: str = ""


def iter_chunks(size: int, chunk: int) -> Iterator[tuple[int, int]]:
    """Offsets and lengths that cover `size` bytes."""
    for offset in range(0, size, chunk):
        yield offset, min(chunk, size - offset)
