"""The live cluster as a cluster file, for simulations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from hpgreedy.model import Host, HostState
from hpgreedy.operations.records import VmRecord
from hpgreedy.operations.world import Now, World
from protocol.spec import HostSpec, Memory, NumaNode, VmSpec, encode_spec
from protocol.spec.fields import is_name
from protocol.spec.memory import NoMemory
from protocol.verbs import ClusterExport

_STATES: dict[HostState, Literal["up", "draining", "down"]] = {
    HostState.UP: "up",
    HostState.DRAINING: "draining",
    HostState.UNREACHABLE: "down",
    HostState.DOWN: "down",
}


def cluster_file(world: World, now: Now) -> ClusterExport:
    """Hosts with what they offer, and VMs with their specs and where they are."""
    hosts = {host.key: host for _, host in world.fleet(now).standing_hosts()}
    vms = (_vm(world, vm, hosts.get(vm.host or ""), now) for vm in world.vms.values())
    return ClusterExport(
        hosts=tuple(encode_spec(_host(host)) for host in hosts.values()),
        vms=tuple(encode_spec(vm) for vm in vms),
    )


def _host(host: Host) -> HostSpec:
    nodes = [host.numa[number] for number in _numbers(host)]
    # Its nodes are what it has, and its offer may be less: the rest is what it keeps.
    cpu = max(host.cpu, sum(node.cpu for node in nodes))
    memory = max(host.memory, sum(node.memory for node in nodes))
    return HostSpec(
        id=host.key,
        cpu=cpu,
        memory=Memory(memory),
        # What a VM could not ask for by name has no place in a spec.
        labels={name: value for name, value in host.labels.items() if is_name(name) and len(value) <= 253},
        state=_STATES[host.state],
        resources={name: count for name, count in host.resources.items() if is_name(name)},
        cpu_overcommit=host.cpu_overcommit,
        memory_overcommit=host.memory_overcommit,
        reserve_cpu=cpu - host.cpu,
        reserve_memory=NoMemory(memory - host.memory),
        numa=tuple(NumaNode(cpu=node.cpu, memory=Memory(node.memory)) for node in nodes),
        networks=_names(host.networks),
        bridges=_names(host.bridges),
        pools=_names(host.pools),
        cpu_models=_names(host.cpu_models),
    )


def _names(found: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if found is None else tuple(sorted(name for name in found if name))


def _numbers(host: Host) -> list[int]:
    """The numbers of the NUMA nodes that have both CPUs and memory: in the file they are counted from 0."""
    return [number for number, node in enumerate(host.numa) if node.cpu and node.memory]


def _vm(world: World, vm: VmRecord, host: Host | None, now: Now) -> VmSpec:
    operation = None if vm.operation is None else world.operations[vm.operation]
    # Its room is still another VM's: on its host the two together would be too much.
    waits = operation is not None and operation.state == "making_room"
    numbers = _numbers(host) if host is not None else []
    nodes = tuple(numbers.index(number) for number in vm.numa_nodes if number in numbers)
    # The coordinator would not move it either.
    fixed = vm.adopted or (operation is None and not world.runs(vm) and not world.settling(vm, now))
    return msgspec.structs.replace(
        vm.spec,
        host=None if waits else vm.host,
        numa_nodes=nodes if len(nodes) == vm.spec.numa and not waits else None,
        cpu_model=vm.cpu_model,
        pinned=vm.spec.pinned or fixed,
        cloud_init=None,
    )
