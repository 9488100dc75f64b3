"""The hosts that do not take a VM, by the rule that rejects them and by its numbers."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from hpgreedy.model import Demand, Host
from hpgreedy.placement.decision import NotPlaced, Reason, Rejection
from hpgreedy.placement.explain.clashes import Key, clash_key
from hpgreedy.placement.explain.obstacles import Obstacle, Sorted
from hpgreedy.placement.fleet import Fleet, positions
from protocol.explanation import Alike, RejectedClass

FEW = 64
"""Up to so many hosts are listed one by one."""
MOST = 16
"""Of more hosts, so many groups of a class are listed, and so many hosts of a group."""


def rejections(fleet: Fleet, demand: Demand, found: Sorted) -> tuple[Rejection, ...]:
    """One for every host, in order of registration; with more than `FEW` hosts one for every class."""
    if fleet.everything.bit_count() > FEW:
        return tuple(_of_class(fleet, demand, each, mask) for each, mask in found.classes)
    by_position = {position: each for each, mask in found.classes for position in positions(mask)}
    return tuple(by_position[position].reject(fleet, demand, position) for position in sorted(by_position))


def rejected(
    fleet: Fleet, demand: Demand, found: Sorted, most: int | None = MOST
) -> tuple[RejectedClass, ...]:
    """The classes in the order in which rules are checked; those of more than `FEW` hosts cut at `most`."""
    few = fleet.everything.bit_count() <= FEW
    return tuple(_class(fleet, demand, each, mask, None if few else most) for each, mask in found.classes)


def by_admission(answer: NotPlaced, most: int | None = MOST) -> tuple[RejectedClass, ...]:
    """The hosts that would take the VM, were it not for admission; one class or none."""
    found: dict[str, list[str]] = {}
    for each in answer.rejections:
        if each.reason is Reason.N1:
            found.setdefault(each.detail, []).append(each.host)
    if not found:
        return ()
    total = sum(len(hosts) for hosts in found.values())
    cut = None if len(answer.rejections) <= FEW else most
    alike = tuple(
        Alike(detail=detail, count=len(hosts), hosts=tuple(hosts[:cut]))
        for detail, hosts in list(found.items())[:cut]
    )
    return (
        RejectedClass(
            reason=Reason.N1.value,
            count=total,
            best=alike[0].hosts[0],
            detail=alike[0].detail,
            groups=len(found),
            alike=alike,
        ),
    )


def _of_class(fleet: Fleet, demand: Demand, obstacle: Obstacle, mask: int) -> Rejection:
    nearest = obstacle.reject(fleet, demand, obstacle.nearest(fleet, mask))
    return Rejection(
        host=nearest.host,
        reason=nearest.reason,
        need=nearest.need,
        have=nearest.have,
        detail=nearest.detail,
        hosts=mask.bit_count(),
    )


def _class(fleet: Fleet, demand: Demand, obstacle: Obstacle, mask: int, most: int | None) -> RejectedClass:
    have, keys = _KEYS.get(obstacle.reason, (_nothing, _same))
    key = keys(fleet, demand, obstacle)
    groups: dict[Hashable, list[int]] = {}
    for position in positions(mask):
        groups.setdefault(key(position), []).append(position)
    nearest_first = sorted(
        groups.values(), key=lambda members: (-have(fleet, demand, obstacle, members[0]), members[0])
    )
    alike = []
    for members in nearest_first[:most]:
        rejection = obstacle.reject(fleet, demand, members[0])
        alike.append(
            Alike(
                detail=rejection.detail,
                need=rejection.need,
                have=rejection.have,
                count=len(members),
                hosts=tuple(fleet.hosts[position].key for position in members[:most]),
            )
        )
    best = alike[0]
    return RejectedClass(
        reason=obstacle.reason.value,
        name=obstacle.name,
        count=mask.bit_count(),
        best=best.hosts[0],
        detail=best.detail,
        need=best.need,
        have=best.have,
        groups=len(groups),
        alike=tuple(alike),
    )


def _nothing(_fleet: Fleet, _demand: Demand, _obstacle: Obstacle, _position: int) -> int:
    return 0


def _free(fleet: Fleet, _demand: Demand, obstacle: Obstacle, position: int) -> int:
    return 0 if obstacle.row is None else fleet.columns[obstacle.row].values[position]


def _fitting(fleet: Fleet, demand: Demand, _obstacle: Obstacle, position: int) -> int:
    nodes, (cpu, memory) = fleet.nodes.get(position), demand.numa_share
    if nodes is None:
        return 0
    pairs = zip(nodes.cpu, nodes.memory, strict=True)
    return sum(1 for free, mib in pairs if free >= cpu and mib >= memory)


def _same(_fleet: Fleet, _demand: Demand, _obstacle: Obstacle) -> Key:
    return lambda _position: None


def _by_free(fleet: Fleet, _demand: Demand, obstacle: Obstacle) -> Key:
    if obstacle.row is None:
        return lambda _position: None
    column = fleet.columns[obstacle.row]
    return lambda position: (max(column.values[position], 0), column.capacity[position])


def _by_nodes(fleet: Fleet, _demand: Demand, _obstacle: Obstacle) -> Key:
    def key(position: int) -> Hashable:
        nodes = fleet.nodes.get(position)
        return None if nodes is None else (tuple(nodes.cpu), tuple(nodes.memory))

    return key


def _by_host(of: Callable[[Host, Obstacle], Hashable]) -> Callable[[Fleet, Demand, Obstacle], Key]:
    return lambda fleet, _demand, obstacle: lambda position: of(fleet.hosts[position], obstacle)


_Have = Callable[[Fleet, Demand, Obstacle, int], int]
_KEYS: dict[Reason, tuple[_Have, Callable[[Fleet, Demand, Obstacle], Key]]] = {
    Reason.CPU: (_free, _by_free),
    Reason.MEMORY: (_free, _by_free),
    Reason.RESOURCE: (_free, _by_free),
    Reason.NUMA: (_fitting, _by_nodes),
    Reason.LABEL: (_nothing, _by_host(lambda host, obstacle: host.labels.get(obstacle.name))),
    Reason.STATE: (_nothing, _by_host(lambda host, _: (host.state, host.problem))),
    Reason.BRIDGE: (_nothing, _by_host(lambda host, _: host.bridges)),
    Reason.NETWORK: (_nothing, _by_host(lambda host, _: host.networks)),
    Reason.CPU_MODEL: (_nothing, _by_host(lambda host, _: (host.offer_cpu, host.cpu_models))),
    Reason.ACCELERATOR: (_nothing, _by_host(lambda host, _: host.accelerator)),
    Reason.APART: (_nothing, clash_key),
    Reason.TOGETHER: (_nothing, clash_key),
}
"""What a host has of what it lacks, and its key: hosts of one class and key are rejected in equal words."""
