"""The hosts that do not take a VM, by the rule that rejects them and by its numbers."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from hpgreedy.model import Demand
from hpgreedy.placement.decision import Reason, Rejection
from hpgreedy.placement.explain.obstacles import Obstacle, Sorted
from hpgreedy.placement.fleet import Fleet, positions
from protocol.explanation import Alike, RejectedClass
from protocol.spec.affinity import HOST_SCOPE

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
    have, key = _KEYS.get(obstacle.reason, (_nothing, _same))
    groups: dict[Hashable, list[int]] = {}
    for position in positions(mask):
        groups.setdefault(key(fleet, obstacle, position), []).append(position)
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


def _same(_fleet: Fleet, _obstacle: Obstacle, _position: int) -> Hashable:
    return None


def _free(fleet: Fleet, _demand: Demand, obstacle: Obstacle, position: int) -> int:
    return 0 if obstacle.row is None else fleet.columns[obstacle.row].values[position]


def _of_free(fleet: Fleet, obstacle: Obstacle, position: int) -> Hashable:
    if obstacle.row is None:
        return None
    column = fleet.columns[obstacle.row]
    return max(column.values[position], 0), column.capacity[position]


def _fitting(fleet: Fleet, demand: Demand, _obstacle: Obstacle, position: int) -> int:
    nodes, (cpu, memory) = fleet.nodes.get(position), demand.numa_share
    if nodes is None:
        return 0
    pairs = zip(nodes.cpu, nodes.memory, strict=True)
    return sum(1 for free, mib in pairs if free >= cpu and mib >= memory)


def _of_nodes(fleet: Fleet, _obstacle: Obstacle, position: int) -> Hashable:
    nodes = fleet.nodes.get(position)
    return None if nodes is None else (tuple(nodes.cpu), tuple(nodes.memory))


def _of_place(fleet: Fleet, obstacle: Obstacle, position: int) -> Hashable:
    if obstacle.scope == HOST_SCOPE:
        return None
    alone = None if obstacle.rule is not None else position
    return fleet.hosts[position].labels.get(obstacle.scope, alone)


_Have = Callable[[Fleet, Demand, Obstacle, int], int]
_Key = Callable[[Fleet, Obstacle, int], Hashable]
_KEYS: dict[Reason, tuple[_Have, _Key]] = {
    Reason.CPU: (_free, _of_free),
    Reason.MEMORY: (_free, _of_free),
    Reason.RESOURCE: (_free, _of_free),
    Reason.NUMA: (_fitting, _of_nodes),
    Reason.LABEL: (_nothing, lambda fleet, obstacle, n: fleet.hosts[n].labels.get(obstacle.name)),
    Reason.STATE: (_nothing, lambda fleet, _, n: (fleet.hosts[n].state, fleet.hosts[n].problem)),
    Reason.BRIDGE: (_nothing, lambda fleet, _, n: fleet.hosts[n].bridges),
    Reason.NETWORK: (_nothing, lambda fleet, _, n: fleet.hosts[n].networks),
    Reason.CPU_MODEL: (_nothing, lambda fleet, _, n: (fleet.hosts[n].offer_cpu, fleet.hosts[n].cpu_models)),
    Reason.APART: (_nothing, _of_place),
    Reason.TOGETHER: (_nothing, _of_place),
}
"""What a host has of what it lacks, and its key: hosts of one class and key are rejected in equal words."""
