"""The live cluster as a cluster file, for simulations."""

from __future__ import annotations

from typing import Literal

import msgspec

from hpgreedy.model import Host, HostState
from hpgreedy.operations.records import VmRecord
from hpgreedy.operations.world import Now, World
from protocol.spec import HostSpec, Memory, VmSpec, encode_spec
from protocol.spec.fields import is_name
from protocol.verbs import ClusterExport

_STATES: dict[HostState, Literal["up", "draining", "down"]] = {
    HostState.UP: "up",
    HostState.DRAINING: "draining",
    HostState.UNREACHABLE: "down",
    HostState.DOWN: "down",
}


def cluster_file(world: World, now: Now) -> ClusterExport:
    """Hosts with what they offer, and VMs with their specs and where they are."""
    hosts = (_host(host) for host in world.fleet(now).hosts)
    return ClusterExport(
        hosts=tuple(encode_spec(host) for host in hosts),
        vms=tuple(encode_spec(_vm(world, vm)) for vm in world.vms.values()),
    )


def _host(host: Host) -> HostSpec:
    return HostSpec(
        id=host.key,
        cpu=host.cpu,
        memory=Memory(host.memory),
        # What a VM could not ask for by name has no place in a spec.
        labels={name: value for name, value in host.labels.items() if is_name(name) and len(value) <= 253},
        state=_STATES[host.state],
        resources={name: count for name, count in host.resources.items() if is_name(name)},
        cpu_overcommit=host.cpu_overcommit,
        memory_overcommit=host.memory_overcommit,
    )


def _vm(world: World, vm: VmRecord) -> VmSpec:
    operation = None if vm.operation is None else world.operations[vm.operation]
    # Its room is still another VM's: on its host the two together would be too much.
    waits = operation is not None and operation.state == "making_room"
    return msgspec.structs.replace(vm.spec, host=None if waits else vm.host, cloud_init=None)
