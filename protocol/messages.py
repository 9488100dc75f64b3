"""Messages between coordinator, agents and clients.

Envelopes are lenient: unknown types and unknown fields of a newer peer are survived. The specs inside
them are strict. Times are seconds since the epoch on the sender's clock, sizes are bytes unless a name
says otherwise.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

ShortText = Annotated[str, msgspec.Meta(max_length=256)]
LongText = Annotated[str, msgspec.Meta(max_length=8192)]
Uuid = Annotated[
    str, msgspec.Meta(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")
]
Epoch = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Key = Annotated[str, msgspec.Meta(min_length=40, max_length=40)]
DomainState = Literal["running", "paused", "shutoff", "crashed", "incoming", "outgoing"]
Role = Literal["admin", "operator", "user", "viewer", "agent"]


class Envelope(msgspec.Struct, frozen=True, omit_defaults=True):
    """What every message is wrapped in; `re` is the id of the message it answers."""

    type: ShortText
    id: ShortText
    body: dict[str, Any] = {}
    re: ShortText | None = None
    v: int = 1


class Message(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Base of all bodies."""


# Joining


class Join(Message, frozen=True, kw_only=True):
    """A one-time or local admin key introduces the sender's own key, under which it reconnects."""

    role: Role
    name: ShortText
    public_key: Key


class Joined(Message, frozen=True, kw_only=True):
    """The key has been admitted."""

    name: ShortText
    cluster: ShortText


class Refused(Message, frozen=True, kw_only=True):
    """The sender's last message was not acted on; `code` is stable, `reason` is a sentence."""

    code: ShortText
    reason: LongText


# Agent to coordinator


class Capacity(Message, frozen=True, kw_only=True):
    """What a host offers; memory in MiB, already without the reserve and capped by the operator."""

    cpus: int
    memory_mib: int
    cpu_overcommit: float = 1.0
    memory_overcommit: float = 1.0
    resources: dict[str, int] = {}


class PoolFacts(Message, frozen=True, kw_only=True):
    """A storage pool; hosts that report the same `storage_id` share its files."""

    name: ShortText
    path: LongText
    storage_id: ShortText
    capacity: int = 0
    available: int = 0


class Accelerator(Message, frozen=True, kw_only=True):
    """How guests run: `kind` kvm, qemu (software emulation) or simulated, and why."""

    kind: Literal["kvm", "qemu", "simulated"]
    reason: LongText


class NumaFacts(Message, frozen=True, kw_only=True):
    """A NUMA node: its number, the list of its CPUs as Linux writes it ("0-3,8-11"), how many they are, and
    its memory in MiB.
    """

    node: Annotated[int, msgspec.Meta(ge=0, le=1023)]
    cpuset: Annotated[str, msgspec.Meta(pattern=r"^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*\Z", max_length=4096)]
    cpus: int
    memory_mib: int


class Hello(Message, frozen=True, kw_only=True):
    """An agent after each connect. `boot_id` changes with each start of the agent. `address` is where other
    hosts reach it, `addresses` are all that its own connections may come from.

    `cpu_models` are the CPU models that guests can be given here, from the poorest to the richest; where the
    operator capped them, `offer_cpu` is the cap. `numa` has the nodes in the order of their numbers.
    `guards` names what keeps VMs and the traffic between hosts from harm: "on", or "off: " and why.
    """

    host_id: Uuid
    name: ShortText
    boot_id: ShortText
    hypervisor: ShortText
    hypervisor_uuid: Uuid
    address: ShortText
    addresses: Annotated[tuple[ShortText, ...], msgspec.Meta(max_length=64)] = ()
    migrate_uri: LongText
    capacity: Capacity
    accelerator: Accelerator
    pools: tuple[PoolFacts, ...] = ()
    networks: tuple[ShortText, ...] = ()
    bridges: tuple[ShortText, ...] = ()
    labels: dict[str, str] = {}
    cpu_models: tuple[ShortText, ...] = ()
    offer_cpu: ShortText = ""
    numa: tuple[NumaFacts, ...] = ()
    versions: dict[str, str] = {}
    guards: dict[ShortText, LongText] = {}
    highest_epoch: Epoch = 0
    agent_version: ShortText = ""


class DomainReport(Message, frozen=True, kw_only=True):
    """A domain as the hypervisor shows it now. `ours` = it carries our metadata.

    `spec` (without what may be long: cloud_init and labels), `operation`, `owner` and `cluster` come from
    that metadata. `cpu_seconds` is the time its vCPUs have used since its start, `memory_mib` what it has
    now, `memory_used_mib` what the guest says it uses (0 where it has no balloon driver),
    `memory_maximum_mib` its ceiling.
    """

    uuid: Uuid
    name: ShortText
    state: DomainState
    ours: bool
    persistent: bool = True
    cpus: int = 0
    memory_mib: int = 0
    memory_used_mib: int = 0
    memory_maximum_mib: int = 0
    cpu_seconds: float = 0.0
    spec: dict[str, Any] | None = None
    owner: ShortText = ""
    operation: ShortText = ""
    cluster: ShortText = ""
    macs: tuple[ShortText, ...] = ()


class Usage(Message, frozen=True, kw_only=True):
    """What the host's hardware is doing: percent of all CPUs, MiB, bytes per second."""

    cpu_percent: float = 0.0
    memory_used_mib: int = 0
    load1: float = 0.0
    net_receive: float = 0.0
    net_send: float = 0.0


class Report(Message, frozen=True, kw_only=True):
    """Sent every second or two; `domains` is the whole list. `hypervisor_up` False = libvirt is silent,
    then `domains` is the last known list and `problem` says what is wrong.
    """

    seq: int
    at: float
    capacity: Capacity
    usage: Usage
    hypervisor_up: bool = True
    problem: LongText = ""
    domains: tuple[DomainReport, ...] = ()
    pools: tuple[PoolFacts, ...] = ()


class DomainEvent(Message, frozen=True, kw_only=True):
    """A domain changed; within a second of the change. `event` as libvirt names it (started, stopped...).

    `state` None = the domain is gone.
    """

    uuid: Uuid
    name: ShortText
    event: ShortText
    detail: ShortText = ""
    state: DomainState | None = None


class CommandAccepted(Message, frozen=True, kw_only=True):
    """The command is in the agent's journal and has been or will be started."""

    command: ShortText


class CommandProgress(Message, frozen=True, kw_only=True):
    """How far a running command is; for migrations a `MigrationProgress` as builtins in `data`."""

    command: ShortText
    data: dict[str, Any] = {}


class MigrationProgress(Message, frozen=True, kw_only=True):
    """Figures of a live migration under way: bytes, seconds, bytes per second."""

    elapsed: float = 0.0
    total: int = 0
    processed: int = 0
    remaining: int = 0
    bandwidth: float = 0.0
    dirty_rate: float = 0.0
    iteration: int = 0
    downtime_ms: int = 0


class CommandResult(Message, frozen=True, kw_only=True):
    """The end of a command; re-sent until acknowledged. `code` is stable, `error` a sentence."""

    command: ShortText
    ok: bool
    data: dict[str, Any] = {}
    code: ShortText = ""
    error: LongText = ""


class ImageRead(Message, frozen=True, kw_only=True):
    """The agent asks for a piece of an image's file (by its sha256)."""

    image: ShortText
    sha256: ShortText
    offset: int
    length: int


class CertificateRequest(Message, frozen=True, kw_only=True):
    """The agent asks for a certificate under which other hosts' libvirt and QEMU know its host. `request` is
    a signing request in PEM; the private key stays on the host.
    """

    request: Annotated[bytes, msgspec.Meta(max_length=4096)]


class Goodbye(Message, frozen=True, kw_only=True):
    """The agent stops in good order; its VMs go on."""


# Coordinator to agent


class Welcome(Message, frozen=True, kw_only=True):
    """Answer to Hello. `now` is the coordinator's clock, `authority` the sha256 of the authority's
    certificate.
    """

    cluster: ShortText
    site: ShortText
    epoch: Epoch
    now: float
    report_interval: float = 2.0
    authority: ShortText = ""


class Command(Message, frozen=True, kw_only=True):
    """Do `action` with `args` (a struct of `protocol.commands`).

    Refused when `epoch` is below the highest the agent has seen or `deadline` (coordinator's clock) has
    passed; a repeated id gets the stored answer.
    """

    id: ShortText
    operation: ShortText
    epoch: Epoch
    sent_at: float
    deadline: float
    action: ShortText
    args: dict[str, Any] = {}


class ResultAck(Message, frozen=True, kw_only=True):
    """The result of `command` is on the coordinator's disk; the agent may forget it."""

    command: ShortText


class ReportAck(Message, frozen=True, kw_only=True):
    """Answer to each Report: a sign of life, with the coordinator's clock."""

    now: float


class CertificateIssued(Message, frozen=True, kw_only=True):
    """Answer to CertificateRequest: the host's certificate and the authority's own, both in PEM."""

    certificate: Annotated[bytes, msgspec.Meta(max_length=8192)]
    authority: Annotated[bytes, msgspec.Meta(max_length=8192)]


class ImageData(Message, frozen=True, kw_only=True):
    """A piece of an image's file; shorter than asked for only at its end."""

    data: bytes


# Client and coordinator


class Request(Message, frozen=True, kw_only=True):
    """A verb of the command table. The envelope's id makes a repeated request the same request."""

    verb: ShortText
    args: dict[str, Any] = {}


class Reply(Message, frozen=True, kw_only=True):
    """Answer to a Request: `result` when ok, else `code` (stable), `error` (a sentence) and `field`."""

    ok: bool
    result: Any = None
    code: ShortText = ""
    error: LongText = ""
    field: ShortText = ""
    details: dict[str, Any] = {}


def _snake(name: str) -> str:
    return "".join("_" + c.lower() if c.isupper() else c for c in name).lstrip("_")


BODIES: dict[str, type[Message]] = {
    _snake(kind.__name__): kind
    for kind in (
        Join, Joined, Refused, Hello, Report, DomainEvent, CommandAccepted, CommandProgress, CommandResult,
        ImageRead, Goodbye, Welcome, Command, ResultAck, ReportAck, ImageData, CertificateRequest,
        CertificateIssued, Request, Reply,
    )
}  # fmt: skip
TYPE_OF: dict[type[Message], str] = {kind: name for name, kind in BODIES.items()}
