"""Clusters and requests to measure with, from a seed: three resources, labels that filter out half."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from hpgreedy.model import Claim, Cluster, Demand, Host
from protocol.spec import Memory

ZONES = ("a", "b")
FLAVOUR_CPUS = (1, 2, 4, 8, 16)


def hosts(count: int, seed: int, *, roomy: int = 1) -> dict[str, Host]:
    """Hosts of three sizes and several shapes, all of them `roomy` times as large; every other in zone a."""
    rng = random.Random(seed)
    made = {}
    for n in range(count):
        cpu = rng.choice((32, 64, 128)) * roomy
        made[f"h{n}"] = Host(
            key=f"h{n}",
            cpu=cpu,
            memory=cpu * rng.choice((2048, 4096, 8192)),
            resources={"disk": cpu * rng.choice((20, 40, 80))},
            labels={"zone": ZONES[n % 2]},
            cpu_overcommit=2.0,
        )
    return made


def demand(rng: random.Random, key: str, *, flavours: bool, zone: str, times: int = 1) -> Demand:
    """A VM of one of 60 flavours, or of any size; all of it so many `times`."""
    if flavours:
        cpu = rng.choice(FLAVOUR_CPUS)
        memory, disk = cpu * 1024 * rng.choice((2, 4, 8)), rng.choice((20, 40, 80, 160))
    else:
        cpu, memory, disk = rng.randint(1, 16), rng.randint(512, 64 * 1024), rng.randint(10, 400)
    return Demand(
        key=key,
        cpu=cpu * times,
        memory=memory * times,
        resources={"disk": disk * times},
        host_labels={"zone": zone},
    )


def demands(count: int, seed: int, *, flavours: bool, zones: Sequence[str] = ("a",)) -> list[Demand]:
    """VMs that want one zone, or these in turn."""
    rng = random.Random(seed)
    return [demand(rng, f"new{n}", flavours=flavours, zone=zones[n % len(zones)]) for n in range(count)]


def filled(count: int, seed: int, *, flavours: bool, times: int = 1) -> Cluster:
    """Hosts with VMs of all ages, each filled until one did not fit any more."""
    rng = random.Random(seed + 1)
    made = hosts(count, seed)
    return Cluster(made, tuple(_fill(rng, made, flavours, times)))


def _fill(rng: random.Random, made: dict[str, Host], flavours: bool, times: int) -> Iterator[Claim]:
    number = 0
    for host in made.values():
        free = [host.cpu_capacity, host.memory_capacity, host.resources["disk"]]
        while True:
            vm = demand(rng, f"old{number}", flavours=flavours, zone=host.labels["zone"], times=times)
            need = (vm.cpu, vm.memory, vm.resources["disk"])
            free = [left - more for left, more in zip(free, need, strict=True)]
            if min(free) < 0:
                break
            yield Claim(demand=vm, host=host.key)
            number += 1


def cluster_file(cluster: Cluster, new: Sequence[Demand]) -> dict[str, object]:
    """The cluster and VMs still to be placed, as a cluster file has them."""
    placed = [_vm(claim.demand) | {"host": claim.host} for claim in cluster.claims]
    return {
        "hosts": [
            {
                "id": host.key,
                "cpu": host.cpu,
                "memory": Memory(host.memory).to_json(),
                "labels": host.labels,
                "resources": host.resources,
                "cpu_overcommit": host.cpu_overcommit,
            }
            for host in cluster.hosts.values()
        ],
        "vms": placed + [_vm(vm) for vm in new],
    }


def _vm(vm: Demand) -> dict[str, object]:
    return {
        "id": vm.key,
        "cpu": vm.cpu,
        "memory": Memory(vm.memory).to_json(),
        "resources": vm.resources,
        "host_labels": vm.host_labels,
    }
