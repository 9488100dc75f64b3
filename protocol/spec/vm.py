"""The VM specification."""

from __future__ import annotations

from typing import Annotated

import msgspec

from protocol.spec.affinity import Affinity, contradiction
from protocol.spec.fields import Count, Cpus, LabelValue, Mac, Name, ObjectId, Text, key_of
from protocol.spec.memory import Memory

NodeNumber = Annotated[int, msgspec.Meta(ge=0, le=1023)]
PublicKeyLine = Annotated[str, msgspec.Meta(max_length=16384, pattern=r"^[^\n\r]+\Z")]


class Disk(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A further, empty disk of the VM: `size` in GiB or with a unit."""

    size: Memory


class Nic(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A network card on a host `bridge` or a libvirt `network`; neither means the host's default.

    `mac` is chosen by the coordinator when it is not given.
    """

    bridge: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,14}\Z")] | None = None
    network: Name | None = None
    mac: Mac | None = None


class KernelBoot(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Direct kernel boot: kernel and initrd of `image` (default: the VM's own image).

    `cmdline` is appended to the image's own kernel command line.
    """

    image: Name | None = None
    cmdline: Annotated[str, msgspec.Meta(max_length=1024, pattern=r"^[\x20-\x7e]*\Z")] = ""


class CloudInit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A NoCloud seed for cloud-init.

    `hostname` defaults to the VM's id; `network` is a cloud-init network-config (version 2) object;
    `user_data` replaces the generated user-data whole.
    """

    user: Annotated[str, msgspec.Meta(pattern=r"^[a-z_][a-z0-9_-]{0,31}\Z")] | None = None
    ssh_keys: Annotated[tuple[PublicKeyLine, ...], msgspec.Meta(max_length=64)] = ()
    hostname: Name | None = None
    network: dict[str, object] | None = None
    user_data: Annotated[str, msgspec.Meta(max_length=65536)] | None = None


class VmSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A virtual machine as a user asks for it.

    id: unique in the cluster, echoed as given (1 and "1" are the same VM); also its libvirt domain name.
    cpu: vCPUs at start, counted against the host's ``cpu x cpu_overcommit``.
    memory: GiB as a number, or a string with a unit ("8192MiB").
    host: the host it must start on (its name); without it the placer chooses.
    resources: further countable resources it takes from its host, by name.
    host_labels: labels (name: value) that its host must have.
    image: the image its first disk is an overlay of; without one the coordinator's `default_image`.
    disks: further, empty disks.
    nics: network cards; without the field one on the host's default network, ``[]`` means none.
    kernel: boot a kernel directly.
    cloud_init: attach a NoCloud seed.
    max_cpu, max_memory: what it can grow to while it runs; at least `cpu` and `memory`.
    labels: free text of the user's own, shown and never interpreted.
    pinned: never moved to make room for another VM.
    group: the group it belongs to, by which rules of VMs name it; membership alone means nothing.
    affinity: where it may or should stand, relative to groups of VMs and to hosts.
    cpu_model: the CPU model its guest sees (as libvirt names them); only hosts that offer it take the VM.
    Without one it is what every host of the hypervisor's kind can do.
    pool: the libvirt storage pool its disks must lie in; only hosts with it take the VM.
    numa: it spans that many NUMA nodes of its host evenly, fits inside them and is pinned to them; without
    it the VM floats over all of its host.
    numa_nodes: the numbers of the nodes it sits on, with `host`; only in a cluster file of a simulation, for
    in a cluster the placer chooses them.
    max_downtime: milliseconds a live migration may pause it (default 300).
    """

    id: ObjectId
    cpu: Cpus
    memory: Memory
    host: ObjectId | None = None
    resources: Annotated[dict[Name, Count], msgspec.Meta(max_length=64)] = {}
    host_labels: Annotated[dict[Name, LabelValue], msgspec.Meta(max_length=64)] = {}
    image: Name | None = None
    disks: Annotated[tuple[Disk, ...], msgspec.Meta(max_length=16)] = ()
    nics: Annotated[tuple[Nic, ...], msgspec.Meta(max_length=8)] | None = None
    kernel: KernelBoot | None = None
    cloud_init: CloudInit | None = None
    max_cpu: Cpus | None = None
    max_memory: Memory | None = None
    labels: Annotated[dict[Name, Text], msgspec.Meta(max_length=64)] = {}
    pinned: bool = False
    group: Name | None = None
    affinity: Annotated[tuple[Affinity, ...], msgspec.Meta(max_length=32)] = ()
    cpu_model: Name | None = None
    pool: Name | None = None
    numa: Annotated[int, msgspec.Meta(ge=1, le=64)] | None = None
    numa_nodes: Annotated[tuple[NodeNumber, ...], msgspec.Meta(max_length=64)] | None = None
    max_downtime: Annotated[int, msgspec.Meta(ge=1, le=2_000_000)] = 300

    def __post_init__(self) -> None:
        if self.max_cpu is not None and self.max_cpu < self.cpu:
            raise ValueError(f"max_cpu is {self.max_cpu}; it must be at least cpu, which is {self.cpu}")
        if self.max_memory is not None and self.max_memory < self.memory:
            raise ValueError(
                f"max_memory is {self.max_memory}; it must be at least memory, which is {self.memory}"
            )
        for nic in self.nics or ():
            if nic.bridge is not None and nic.network is not None:
                raise ValueError(f"nics has both bridge {nic.bridge!r} and network {nic.network!r}; give one")
        self._check_places()

    def _check_places(self) -> None:
        host = None if self.host is None else key_of(self.host)
        problem = contradiction(self.affinity, host, self.host_labels)
        if problem is not None:
            raise ValueError(problem)
        if self.numa is not None and self.cpu and self.numa > self.cpu:
            raise ValueError(f"numa is {self.numa}; it must be at most cpu, which is {self.cpu}")
        if self.numa_nodes is None:
            return
        if len(set(self.numa_nodes)) != len(self.numa_nodes):
            raise ValueError(f"numa_nodes is {list(self.numa_nodes)}; each node may stand once")
        if self.numa is None or len(self.numa_nodes) != self.numa:
            raise ValueError(
                f"numa_nodes has {len(self.numa_nodes)} nodes; it must have as many as numa says, "
                f"which is {self.numa if self.numa is not None else 'not given'}"
            )
        if self.host is None:
            raise ValueError("numa_nodes is given without host; the nodes of which host are meant?")

    @property
    def key(self) -> str:
        """The id as text, the key under which the VM is known."""
        return key_of(self.id)
