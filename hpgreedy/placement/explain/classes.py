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
    key = _KEYS.get(obstacle.reason, _same)
    groups: dict[Hashable, list[int]] = {}
    for position in positions(mask):
        groups.setdefault(key(fleet, obstacle, position), []).append(position)
    words = [(obstacle.reject(fleet, demand, members[0]), members) for members in groups.values()]
    words.sort(key=lambda pair: (-(pair[0].have or 0), pair[1][0]))
    alike = tuple(
        Alike(
            detail=rejection.detail,
            need=rejection.need,
            have=rejection.have,
            count=len(members),
            hosts=tuple(fleet.hosts[position].key for position in members[:most]),
        )
        for rejection, members in words[:most]
    )
    best = words[0][0]
    return RejectedClass(
        reason=obstacle.reason.value,
        name=obstacle.name,
        count=mask.bit_count(),
        best=best.host,
        detail=best.detail,
        need=best.need,
        have=best.have,
        alike=alike,
    )


def _same(_fleet: Fleet, _obstacle: Obstacle, _position: int) -> Hashable:
    return None


def _free(fleet: Fleet, obstacle: Obstacle, position: int) -> Hashable:
    if obstacle.row is None:
        return None
    column = fleet.columns[obstacle.row]
    return max(column.values[position], 0), column.capacity[position]


def _nodes(fleet: Fleet, _obstacle: Obstacle, position: int) -> Hashable:
    nodes = fleet.nodes.get(position)
    return None if nodes is None else (tuple(nodes.cpu), tuple(nodes.memory))


def _place(fleet: Fleet, obstacle: Obstacle, position: int) -> Hashable:
    if obstacle.scope == HOST_SCOPE:
        return None
    alone = None if obstacle.rule is not None else position
    return fleet.hosts[position].labels.get(obstacle.scope, alone)


_KEYS: dict[Reason, Callable[[Fleet, Obstacle, int], Hashable]] = {
    Reason.CPU: _free,
    Reason.MEMORY: _free,
    Reason.RESOURCE: _free,
    Reason.NUMA: _nodes,
    Reason.LABEL: lambda fleet, obstacle, n: fleet.hosts[n].labels.get(obstacle.name),
    Reason.STATE: lambda fleet, _, n: (fleet.hosts[n].state, fleet.hosts[n].problem),
    Reason.BRIDGE: lambda fleet, _, n: fleet.hosts[n].bridges,
    Reason.NETWORK: lambda fleet, _, n: fleet.hosts[n].networks,
    Reason.CPU_MODEL: lambda fleet, _, n: (fleet.hosts[n].offer_cpu, fleet.hosts[n].cpu_models),
    Reason.APART: _place,
    Reason.TOGETHER: _place,
}
"""Hosts of one class and of one key are rejected in the same words."""
