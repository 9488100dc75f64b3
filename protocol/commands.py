"""What the coordinator can tell an agent to do: one struct of arguments and one of results an action.

Every action is idempotent: it brings about a state and succeeds at once when that state is there already.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import msgspec

from protocol.messages import DomainState, LongText, NumaFacts, ShortText, Uuid
from protocol.spec import ImageManifest, VmSpec


class Args(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all arguments."""

    action: ClassVar[str] = ""


class Stamp(Args, frozen=True, kw_only=True):
    """What is written into the domain's metadata beside the spec."""

    operation: ShortText
    owner: ShortText
    cluster: ShortText
    site: ShortText = "local"


class VmPlan(Args, frozen=True, kw_only=True):
    """Everything a host needs to know to make a VM. `macs` has one address per card of the VM.

    `kernel_image` is the image whose kernel is booted directly, None = boot from the disk.
    `max_cpu` and `max_memory_mib` are final values, defaults already applied. `cpu_model` is the guest's CPU
    model, None = the hypervisor's default. `numa_nodes` are the host's nodes it is pinned to, as many as
    `spec.numa` says; empty = it floats.
    """

    spec: VmSpec
    uuid: Uuid
    macs: tuple[ShortText, ...]
    max_cpu: int
    max_memory_mib: int
    stamp: Stamp
    image: ImageManifest | None = None
    kernel_image: ImageManifest | None = None
    cpu_model: ShortText | None = None
    numa_nodes: tuple[int, ...] = ()


class Provision(Args, frozen=True, kw_only=True):
    """Fetch images, make disks and seed, define the domain. Not started."""

    action: ClassVar[str] = "provision"
    plan: VmPlan


class Start(Args, frozen=True, kw_only=True):
    """Start a defined domain; fine when it runs already."""

    action: ClassVar[str] = "start"
    uuid: Uuid


class Shutdown(Args, frozen=True, kw_only=True):
    """Ask the guest to shut down and wait up to `grace` seconds; then, only if `force`, destroy it."""

    action: ClassVar[str] = "shutdown"
    uuid: Uuid
    grace: float = 60.0
    force: bool = False


class AbortShutdown(Args, frozen=True, kw_only=True):
    """Wait no longer for a guest that was asked to shut down, and do not switch it off; fine when nobody
    waits for it.
    """

    action: ClassVar[str] = "abort_shutdown"
    uuid: Uuid


class Destroy(Args, frozen=True, kw_only=True):
    """Stop a domain at once. With `unless_running` one that runs is refused: only what stands still or
    is still arriving is stopped.
    """

    action: ClassVar[str] = "destroy"
    uuid: Uuid
    unless_running: bool = False


class Remove(Args, frozen=True, kw_only=True):
    """Undefine a domain that is not running and delete what was made for it when `disks`.

    Fine when nothing is left. Refused while it runs. Only files that the domain's uuid names are deleted;
    images never. The result is a `DeletedDisks`.
    """

    action: ClassVar[str] = "remove"
    uuid: Uuid
    disks: bool


class PrepareIncoming(Args, frozen=True, kw_only=True):
    """Make a host ready to receive a live migration: images, and with `copy` empty overlays and seed.

    A copy is refused by a host whose storage is one of `source_storage`. Until `open_until` (coordinator's
    clock) the host's libvirt and migration ports take connections from `source_addresses`.
    """

    action: ClassVar[str] = "prepare_incoming"
    plan: VmPlan
    copy: bool
    source_storage: tuple[ShortText, ...] = ()
    source_addresses: Annotated[tuple[ShortText, ...], msgspec.Meta(max_length=64)] = ()
    open_until: float = 0.0


class FinishIncoming(Args, frozen=True, kw_only=True):
    """A live migration to this host is over and its source is gone: close the ports that were opened for it
    and, with `resume`, let the domain go on if it arrived paused. Fine when it runs.
    """

    action: ClassVar[str] = "finish_incoming"
    uuid: Uuid
    resume: bool = False


class Migrate(Args, frozen=True, kw_only=True):
    """Live-migrate to the host at `target_uri` (peer-to-peer, persistent there, undefined here).

    `copy` copies the disks too. `bandwidth_mib` 0 = unlimited. `max_downtime_ms` is set once it runs. `numa`
    are the target's nodes that a pinned domain is pinned to from then on; empty for one that floats. With
    `hold` the domain arrives paused and goes on only once it is gone from here, for no lock would keep it
    from running at both ends: the source's host lets it go on, or else a `FinishIncoming`.
    """

    action: ClassVar[str] = "migrate"
    uuid: Uuid
    target_uri: LongText
    target_address: ShortText
    copy: bool
    max_downtime_ms: int = 300
    bandwidth_mib: int = 0
    hold: bool = False
    numa: tuple[NumaFacts, ...] = ()


class AbortMigration(Args, frozen=True, kw_only=True):
    """Abort a running migration of this domain; fine when none runs."""

    action: ClassVar[str] = "abort_migration"
    uuid: Uuid


class Inspect(Args, frozen=True, kw_only=True):
    """Look where a domain stands; the result is an `Inspected`."""

    action: ClassVar[str] = "inspect"
    uuid: Uuid


class ConsoleLog(Args, frozen=True, kw_only=True):
    """The last `size` bytes of the serial console as text; the result is a `ConsoleText`."""

    action: ClassVar[str] = "console_log"
    uuid: Uuid
    name: ShortText
    size: int = 65536


class Adopt(Args, frozen=True, kw_only=True):
    """Stamp our metadata into a domain that was there before; the result is an `Adopted`."""

    action: ClassVar[str] = "adopt"
    name: ShortText
    stamp: Stamp


class FetchImage(Args, frozen=True, kw_only=True):
    """Have an image's files in the pool, fetched from the coordinator and checked by checksum."""

    action: ClassVar[str] = "fetch_image"
    image: ImageManifest


class DeleteImage(Args, frozen=True, kw_only=True):
    """Delete an image's files from the pool; fine when they are not there."""

    action: ClassVar[str] = "delete_image"
    image: ImageManifest


class Inspected(Args, frozen=True, kw_only=True):
    """`present` False = this host's libvirt does not know the domain; `job` = a migration is running;
    `handed_over` = it stands still because of a migration whose end libvirt has not heard of.
    """

    present: bool
    state: DomainState | None = None
    persistent: bool = False
    job: bool = False
    handed_over: bool = False


class ConsoleText(Args, frozen=True, kw_only=True):
    """Console output, undecodable bytes replaced; `total` = bytes in the log."""

    text: str
    total: int


class Migrated(Args, frozen=True, kw_only=True):
    """Figures of a finished migration: milliseconds and bytes."""

    total_ms: int
    downtime_ms: int
    transferred: int
    memory_total: int = 0


class Adopted(Args, frozen=True, kw_only=True):
    """The domain as a spec, derived from its XML."""

    uuid: Uuid
    spec: VmSpec
    state: DomainState
    macs: tuple[ShortText, ...] = ()


class DeletedDisks(Args, frozen=True, kw_only=True):
    """The files that were deleted."""

    files: tuple[LongText, ...] = ()


ACTIONS: dict[str, type[Args]] = {
    kind.action: kind
    for kind in (
        Provision, Start, Shutdown, AbortShutdown, Destroy, Remove, PrepareIncoming, FinishIncoming, Migrate,
        AbortMigration, Inspect, ConsoleLog, Adopt, FetchImage, DeleteImage,
    )
}  # fmt: skip

# Stable error codes of a CommandResult.
ErrorCode = Literal[
    "not_found", "exists", "busy", "refused", "expired", "stale_epoch", "bad_arguments", "no_space",
    "unsupported", "hypervisor_down", "timeout", "failed", "aborted",
]  # fmt: skip


class CommandError(Exception):
    """A command failed: a stable `code` and one sentence that says what failed and what state it left."""

    def __init__(self, code: ErrorCode, message: str, data: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data or {}
