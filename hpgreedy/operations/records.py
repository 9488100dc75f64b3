"""What is kept: VMs, hosts, operations, images, keys and answered requests, as immutable records."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal, TypeVar

import msgspec

from hpgreedy.model import Demand
from protocol.commands import Stamp, VmPlan
from protocol.messages import Hello
from protocol.spec import ImageManifest, VmSpec, decode_spec, encode_spec

Desired = Literal["running", "stopped"]
R = TypeVar("R")


class VmRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, dict=True):
    """A VM the cluster is responsible for. Memory in MiB.

    `host` is where it is, or where it is going to be made while it is new (`made` False). `operation` is
    the open operation that has hold of it. `adopted` = it was there before; its disks are not ours, so it
    is never moved to make room. `cpu_model` is what its guest sees, None = the hypervisor's default.
    `accelerator` is what runs its guest where it was made (kvm, qemu): no other can take it over.
    `numa_nodes` are the numbers of the nodes of its host that it is pinned to. `runner_up` is the host that
    would have been next.
    """

    spec: VmSpec
    uuid: str
    macs: tuple[str, ...]
    max_cpu: int
    max_memory: int
    owner: str
    created: float
    made_by: int
    host: str | None = None
    made: bool = False
    adopted: bool = False
    desired: Desired = "running"
    operation: int | None = None
    image: ImageManifest | None = None
    kernel_image: ImageManifest | None = None
    cpu_model: str | None = None
    accelerator: str | None = None
    numa_nodes: tuple[int, ...] = ()
    why_here: str = ""
    runner_up: str | None = None
    problem: str = ""

    @cached_property
    def demand(self) -> Demand:
        """What it takes from and asks of a host, with the CPU model and the accelerator that it got."""
        asked = Demand.of_spec(self.spec)
        return msgspec.structs.replace(
            asked, cpu_model=self.cpu_model or asked.cpu_model, accelerator=self.accelerator
        )

    @property
    def key(self) -> str:
        """The key of the VM's id."""
        return self.spec.key

    def plan(self, cluster: str, site: str, numa_nodes: tuple[int, ...] | None = None) -> VmPlan:
        """The VM as a host needs to know it; `numa_nodes` when they are not those of its present host."""
        stamp = Stamp(operation=str(self.made_by), owner=self.owner, cluster=cluster, site=site)
        return VmPlan(
            spec=self.spec,
            uuid=self.uuid,
            macs=self.macs,
            max_cpu=self.max_cpu,
            max_memory_mib=self.max_memory,
            stamp=stamp,
            image=self.image,
            kernel_image=self.kernel_image,
            cpu_model=self.cpu_model,
            numa_nodes=self.numa_nodes if numa_nodes is None else numa_nodes,
        )


class HostRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A host that has joined: its identity is `id` and the key it is bound to, never its address."""

    id: str
    name: str
    public_key: str
    hello: Hello
    joined: float
    draining: bool = False


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of an operation's history; `by` = the person whose request led to it.

    `count` = how often the same was noted in a row, the first time at `at`.
    """

    at: float
    state: str
    note: str = ""
    by: str = ""
    count: int = 1


class Waiting(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A command that an operation has sent and waits for. `ttl` in seconds."""

    id: str
    host: str
    action: str
    args: dict[str, Any]
    ttl: float


class OperationRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One change to the cluster, from its acceptance to its end.

    `cancelled_by` = who asked for it to be cancelled; how it ended is in `state`. `retry_of` = the operation
    whose request was asked for again. `args["spec"]` = the VM that a create did not make.
    """

    id: int
    kind: str
    state: str
    owner: str
    created: float
    updated: float
    vm: str | int | None = None
    source: str | None = None
    target: str | None = None
    why: str = ""
    parent: int | None = None
    retry_of: int | None = None
    cancelled_by: str = ""
    children: tuple[int, ...] = ()
    args: dict[str, Any] = {}
    waiting: tuple[Waiting, ...] = ()
    attempt: int = 0
    tries: int = 0
    error: str = ""
    outcome: dict[str, Any] = {}
    history: tuple[Step, ...] = ()
    done: bool = False
    ok: bool | None = None

    @property
    def vm_key(self) -> str:
        """The key of the VM's id; only for operations on one VM."""
        assert self.vm is not None
        return str(self.vm)


class ImageRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An image; `ready` once all its files are with the coordinator. `storages` that have its files."""

    manifest: ImageManifest
    ready: bool = False
    operation: int | None = None


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A public key that is admitted: `one_time` keys may only join, until used or `expires`."""

    public_key: str
    role: str
    name: str
    created: float
    one_time: bool = False
    expires: float | None = None


class RequestRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request that was accepted: repeating its id gives the same operations."""

    at: float
    operations: tuple[int, ...]
    notes: tuple[str, ...] = ()


class Meta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The cluster's own facts: its id, site, and the counters that never go back.

    last_host: the host that the newest VM was given.
    """

    cluster: str
    site: str = "local"
    next_operation: int = 1
    next_mac: int = 0
    last_host: str | None = None


KINDS: dict[str, type[Any]] = {
    "vm": VmRecord,
    "host": HostRecord,
    "operation": OperationRecord,
    "image": ImageRecord,
    "key": KeyRecord,
    "request": RequestRecord,
    "meta": Meta,
}


def to_value(record: object) -> dict[str, Any]:
    """A record as the builtin values that a store keeps."""
    value: dict[str, Any] = encode_spec(record)
    return value


def from_value(kind: type[R], value: dict[str, Any]) -> R:
    """The record of a stored value; raises SpecError when the value is damaged."""
    return decode_spec(value, kind, kind.__name__)
