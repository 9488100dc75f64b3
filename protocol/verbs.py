"""What clients can ask of the coordinator: request and response structs of each verb.

The coordinator's table of commands adds role and handler. Responses are what `--json` prints; fields are
only ever added.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from protocol.explanation import Explanation
from protocol.messages import MigrationProgress, ShortText
from protocol.spec import ImageManifest, ObjectId


class Ask(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """Base of requests; strict."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Base of responses."""


# Views


class VmView(Answer, frozen=True, kw_only=True):
    """A VM. `state`: waiting (in the queue; `waits_for` says for what), pending, provisioning, starting,
    running, paused, migrating, stopping, stopped, crashed, missing, unknown (its host is unreachable) or
    deleting; `desired`: running or stopped.
    `memory` and the other sizes are MiB. `operation` = the open operation, if any. `runner_up` = the host
    that would have been next when it was placed. `cpu_model` = what its guest sees, None = the hypervisor's
    default; `numa_nodes` = the nodes of its host that it is pinned to. `rules` = what it asks of its host, a
    sentence each.
    """

    id: str | int
    uuid: str
    host: str | None
    state: str
    desired: str
    cpu: int
    memory: int
    max_cpu: int
    max_memory: int
    memory_used: int = 0
    cpu_percent: float | None = None
    image: str | None = None
    macs: tuple[str, ...] = ()
    owner: str = ""
    labels: dict[str, str] = {}
    pinned: bool = False
    operation: int | None = None
    waits_for: str = ""
    why_here: str = ""
    runner_up: str | None = None
    cpu_model: str | None = None
    numa_nodes: tuple[int, ...] = ()
    problem: str = ""
    created: float = 0.0
    rules: tuple[str, ...] = ()
    spec: dict[str, Any] = {}


class ForeignDomain(Answer, frozen=True, kw_only=True):
    """A domain that was not made by this cluster; listed, never touched unless adopted."""

    name: str
    uuid: str
    host: str
    state: str
    cpu: int = 0
    memory: int = 0


class HostView(Answer, frozen=True, kw_only=True):
    """A host. `state`: up, draining, unreachable, hypervisor-down or left. Memory in MiB.

    `*_capacity` is what may be given out (offer x overcommit), `*_allocated` what is, reservations of
    open operations included.
    """

    name: str
    id: str
    state: str
    problem: str
    cpu: int
    memory: int
    cpu_capacity: float
    memory_capacity: float
    cpu_allocated: int
    memory_allocated: int
    cpu_overcommit: float
    memory_overcommit: float
    cpu_percent: float
    memory_used: int
    vms: int
    address: str
    hypervisor: str
    hypervisor_uuid: str
    accelerator: str
    accelerator_reason: str
    versions: dict[str, str] = {}
    guards: dict[str, str] = {}
    labels: dict[str, str] = {}
    resources: dict[str, int] = {}
    pools: tuple[dict[str, Any], ...] = ()
    networks: tuple[str, ...] = ()
    bridges: tuple[str, ...] = ()
    migrate_uri: str = ""
    last_report: float | None = None
    foreign: tuple[ForeignDomain, ...] = ()
    vm_ids: tuple[str | int, ...] = ()


class LossView(Answer, frozen=True, kw_only=True):
    """If `host` died, no place was found for `vms` on the other hosts that are up."""

    host: str
    vms: tuple[str, ...]


class OpStep(Answer, frozen=True, kw_only=True):
    """One entry of an operation's history; `by` = whose request led to it, `count` = how often in a row."""

    at: float
    state: str
    note: str
    by: str = ""
    count: int = 1


class OpView(Answer, frozen=True, kw_only=True):
    """An operation. `kind`: create, delete, migrate, start, stop, adopt or delete_image.

    `done` = it has ended; `ok` tells how. For migrations `progress` while it runs and `outcome`
    (total_ms, downtime_ms, transferred) afterwards. `parent` = the operation it makes room for. `waits_for`:
    what a VM in the queue waits for, a sentence. `retry_of` = the operation whose request it is once more.
    `cancelled_by` = who asked for it to be cancelled; it was if its state is `cancelled` in the end.
    """

    id: int
    kind: str
    state: str
    done: bool
    ok: bool | None
    vm: str | int | None
    source: str | None
    target: str | None
    owner: str
    created: float
    updated: float
    error: str = ""
    why: str = ""
    waits_for: str = ""
    parent: int | None = None
    retry_of: int | None = None
    cancelled_by: str = ""
    children: tuple[int, ...] = ()
    progress: MigrationProgress | None = None
    outcome: dict[str, Any] = {}
    history: tuple[OpStep, ...] = ()


class ImageView(Answer, frozen=True, kw_only=True):
    """An image; `hosts` that have its files already, `used_by` VMs that stand on it."""

    name: str
    files: tuple[dict[str, Any], ...]
    cmdline: str
    virtual_size: int | None
    state: Literal["uploading", "ready"]
    hosts: tuple[str, ...] = ()
    used_by: tuple[str | int, ...] = ()
    default: bool = False


class PlannedMove(Answer, frozen=True, kw_only=True, rename={"source": "from", "target": "to"}):
    """A live migration that comes first. `memory` in MiB; `copy` = its disks are copied too."""

    vm: str | int
    source: str
    target: str
    memory: int
    numa_nodes: tuple[int, ...] = ()
    copy: bool = False


class PlacementView(Answer, frozen=True, kw_only=True):
    """Where a VM goes once `moves` are done, in their order, and why; `explanation` if asked for."""

    vm: str | int
    host: str
    numa_nodes: tuple[int, ...] = ()
    moves: tuple[PlannedMove, ...] = ()
    why: str = ""
    runner_up: str | None = None
    algorithm: str
    explanation: Explanation | None = None


class PlacementPlan(Answer, frozen=True, kw_only=True):
    """What a submit would do now; nothing has been changed."""

    placements: tuple[PlacementView, ...]
    notes: tuple[str, ...] = ()


class OpsStarted(Answer, frozen=True, kw_only=True):
    """Operations that have been accepted: they are on disk. `placements` if explanations are asked for."""

    operations: tuple[OpView, ...]
    notes: tuple[str, ...] = ()
    placements: tuple[PlacementView, ...] = ()


# Requests


class Submit(Ask, frozen=True, kw_only=True):
    """Create VMs. `vms` are builtin values of `VmSpec`; all are accepted or none. → OpsStarted"""

    vms: Annotated[tuple[dict[str, Any], ...], msgspec.Meta(min_length=1, max_length=10_000)]
    algorithm: ShortText | None = None
    explain: bool = False


class Place(Submit, frozen=True, kw_only=True):
    """What Submit would do with the same request; nothing is accepted. → PlacementPlan"""


class VmList(Ask, frozen=True, kw_only=True):
    """→ tuple of VmView"""


class ById(Ask, frozen=True, kw_only=True):
    """One object by id or name."""

    id: ObjectId


class VmDelete(Ask, frozen=True, kw_only=True):
    """Shut the VM down, undefine it, delete its disks. `force` = do not wait for the guest. → OpsStarted"""

    id: ObjectId
    force: bool = False
    grace: Annotated[float, msgspec.Meta(ge=1, le=3600)] = 60.0


class VmStop(Ask, frozen=True, kw_only=True):
    """Shut the VM down and keep it defined. `force` = destroy it after `grace` seconds. → OpsStarted"""

    id: ObjectId
    force: bool = False
    grace: Annotated[float, msgspec.Meta(ge=1, le=3600)] = 60.0


class VmMigrate(Ask, frozen=True, kw_only=True):
    """Live-migrate; `to` None = the placer chooses. `bandwidth` MiB/s, 0 = unlimited. → OpsStarted"""

    id: ObjectId
    to: ObjectId | None = None
    bandwidth: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0


class VmAdopt(Ask, frozen=True, kw_only=True):
    """Take a domain that was there before into the cluster's care. → OpsStarted"""

    host: ObjectId
    name: ShortText


class VmConsoleLog(Ask, frozen=True, kw_only=True):
    """→ ConsoleLogText"""

    id: ObjectId
    size: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 65536


class ConsoleLogText(Answer, frozen=True, kw_only=True):
    """The end of a VM's serial console on its present host."""

    id: str | int
    host: str
    text: str
    total: int


class OpList(Ask, frozen=True, kw_only=True):
    """The newest operations first; `open_only` those that have not ended. → tuple of OpView"""

    open_only: bool = False
    limit: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 100


class OpShow(Ask, frozen=True, kw_only=True):
    """→ OpView"""

    id: Annotated[int, msgspec.Meta(ge=1, le=2**53)]


class OpCancel(OpShow, frozen=True, kw_only=True):
    """Cancel an operation where that is safe. → OpsStarted: the operation, which may not have ended yet"""


class OpRetry(OpShow, frozen=True, kw_only=True):
    """Ask again for what an operation did not bring about. → OpsStarted"""


class ImageBegin(Ask, frozen=True, kw_only=True):
    """Announce an image; its files are then written with ImageWrite. → ImageUpload"""

    manifest: ImageManifest


class ImageUpload(Answer, frozen=True, kw_only=True):
    """`missing` = sha256 of the files that the coordinator does not have yet."""

    missing: tuple[str, ...]


class ImageWrite(Ask, frozen=True, kw_only=True):
    """A piece of a file, base64, in order; the last piece completes the file. → ImageWritten"""

    name: ShortText
    sha256: ShortText
    offset: Annotated[int, msgspec.Meta(ge=0)]
    data: Annotated[str, msgspec.Meta(max_length=700_000)]


class ImageWritten(Answer, frozen=True, kw_only=True):
    """Bytes the coordinator has of the file."""

    size: int


class ImageFinish(Ask, frozen=True, kw_only=True):
    """Check all files and make the image usable. → ImageView"""

    name: ShortText


class TokenCreate(Ask, frozen=True, kw_only=True):
    """A one-time join token for a new host or client. → TokenCreated"""

    role: Literal["agent", "admin", "operator", "user", "viewer"]
    name: ShortText = ""
    ttl: Annotated[float, msgspec.Meta(ge=1, le=30 * 86400)] = 3600.0


class TokenCreated(Answer, frozen=True, kw_only=True):
    """The token's text and when it expires."""

    token: str
    expires: float


class Nothing(Ask, frozen=True, kw_only=True):
    """No arguments."""


class AlgorithmView(Answer, frozen=True, kw_only=True):
    """A placement algorithm: what it does in a sentence, and its source."""

    name: str
    summary: str
    source: str
    default: bool


class StatusView(Answer, frozen=True, kw_only=True):
    """The cluster at a glance. Memory in MiB. `losses`: hosts whose VMs could not all be restarted elsewhere
    if the host died; `admission`: off, n1 or n1-warn.
    """

    cluster: str
    version: str
    epoch: int
    uptime: float
    hosts: int
    hosts_up: int
    vms: int
    vms_running: int
    cpu_capacity: float
    cpu_allocated: int
    memory_capacity: float
    memory_allocated: int
    open_operations: int
    queued: int
    algorithm: str
    problems: tuple[str, ...]
    host_list: tuple[HostView, ...] = ()
    losses: tuple[LossView, ...] = ()
    admission: str = "off"
    refused: dict[str, int] = {}


class ClusterExport(Answer, frozen=True, kw_only=True):
    """The live cluster as a cluster file: builtin values of `HostSpec` and `VmSpec`.

    A host that is unreachable is `down`; one that offers less than its NUMA nodes have keeps the rest in
    reserve. A VM has the host it is on or is being made on, none while it waits for room; one that is adopted
    or does not run is `pinned`, since it would not be moved. `numa_nodes` are counted as in the file. What
    only its first boot needs (`cloud_init`, which may hold secrets) is left out.
    """

    hosts: tuple[dict[str, Any], ...]
    vms: tuple[dict[str, Any], ...]


# Error codes of a Reply and the exit codes that go with them.
EXIT_CODES: dict[str, int] = {
    "bad_request": 2,  # malformed or names something that does not exist
    "not_found": 2,
    "exists": 2,
    "refused": 1,  # understood, and the cluster's state forbids it
    "forbidden": 1,
    "busy": 1,
    "unavailable": 1,
    "failed": 1,
}

VERBS: dict[str, tuple[type[Ask], Any]] = {
    "submit": (Submit, OpsStarted),
    "place": (Place, PlacementPlan),
    "flush": (Nothing, OpsStarted),
    "vm.list": (VmList, tuple[VmView, ...]),
    "vm.show": (ById, VmView),
    "vm.delete": (VmDelete, OpsStarted),
    "vm.start": (ById, OpsStarted),
    "vm.stop": (VmStop, OpsStarted),
    "vm.migrate": (VmMigrate, OpsStarted),
    "vm.adopt": (VmAdopt, OpsStarted),
    "vm.console_log": (VmConsoleLog, ConsoleLogText),
    "host.list": (Nothing, tuple[HostView, ...]),
    "host.show": (ById, HostView),
    "op.list": (OpList, tuple[OpView, ...]),
    "op.show": (OpShow, OpView),
    "op.cancel": (OpCancel, OpsStarted),
    "op.retry": (OpRetry, OpsStarted),
    "image.list": (Nothing, tuple[ImageView, ...]),
    "image.begin": (ImageBegin, ImageUpload),
    "image.write": (ImageWrite, ImageWritten),
    "image.finish": (ImageFinish, ImageView),
    "image.delete": (ById, OpsStarted),
    "token.create": (TokenCreate, TokenCreated),
    "algorithm.list": (Nothing, tuple[AlgorithmView, ...]),
    "status": (Nothing, StatusView),
    "export": (Nothing, ClusterExport),
}
