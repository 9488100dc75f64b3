"""What would take an obstacle away on one host, in words and numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hpgreedy.model import Demand, Host, Rule, RuleKind
from hpgreedy.placement.constraints.groups import same_place
from hpgreedy.placement.constraints.hosts import named
from hpgreedy.placement.decision import Reason
from hpgreedy.placement.explain.obstacles import Obstacle, about
from hpgreedy.placement.fleet import Fleet
from hpgreedy.placement.fleet.numa import Nodes
from hpgreedy.placement.words import amount, count, size
from protocol.explanation import Edit, EditKind, NodeRoom
from protocol.spec.affinity import HOST_SCOPE

_PRESENT = {
    Reason.BRIDGE: (EditKind.BRIDGE, "the bridge"),
    Reason.NETWORK: (EditKind.NETWORK, "the network"),
    Reason.POOL: (EditKind.POOL, "the storage pool"),
    Reason.CPU_MODEL: (EditKind.CPU_MODEL, "the CPU model"),
    Reason.ACCELERATOR: (EditKind.ACCELERATOR, "the accelerator"),
}
_ROOM = {
    Reason.CPU: EditKind.MORE_CPU,
    Reason.MEMORY: EditKind.MORE_MEMORY,
    Reason.RESOURCE: EditKind.MORE_RESOURCE,
}
_DROPS = {
    RuleKind.NEAR: EditKind.DROP_NEAR,
    RuleKind.AVOID: EditKind.DROP_AVOID,
    RuleKind.APART: EditKind.DROP_APART,
    RuleKind.TOGETHER: EditKind.DROP_TOGETHER,
}


def edit_of(fleet: Fleet, demand: Demand, obstacle: Obstacle, position: int) -> Edit:
    """The edit that takes the obstacle away at the position.

    Rules have their own (`rule_edits`), and where the VM stands already there is none.
    """
    reason, host = obstacle.reason, fleet.hosts[position].key
    if reason in _ROOM:
        return _more(fleet, obstacle, position)
    if reason is Reason.NUMA:
        return _numa(fleet, demand, position)
    if reason in _PRESENT:
        kind, what = _PRESENT[reason]
        return Edit(kind=kind, host=host, name=obstacle.name, sentence=f"{host} has {what} {obstacle.name}")
    if reason is Reason.LABEL:
        return label_edit(host, obstacle.name, obstacle.value)
    if reason is Reason.STATE:
        state = fleet.hosts[position].state
        return Edit(
            kind=EditKind.HOST_UP,
            host=host,
            value=state.value,
            sentence=f"{host} is up (it is {state.value})",
        )
    return _of_vm(demand, obstacle)


def label_edit(host: str, name: str, value: str) -> Edit:
    """A host is given a label."""
    return Edit(
        kind=EditKind.LABEL,
        host=host,
        name=name,
        value=value,
        sentence=f"{host} has the label {name}={value}",
    )


def shortage(fleet: Fleet, obstacle: Obstacle, position: int) -> int:
    """How much more of the obstacle's quantity must be free."""
    free = 0 if obstacle.row is None else fleet.columns[obstacle.row].values[position]
    return obstacle.need - free


def _more(fleet: Fleet, obstacle: Obstacle, position: int) -> Edit:
    host, more = fleet.hosts[position].key, shortage(fleet, obstacle, position)
    words = {
        Reason.CPU: count(more, "cpu") + " more",
        Reason.MEMORY: f"{amount(more)} more memory",
        Reason.RESOURCE: f"{more} more {obstacle.name}",
    }[obstacle.reason]
    kind = _ROOM[obstacle.reason]
    return Edit(
        kind=kind, host=host, name=obstacle.name, amount=more, sentence=f"{host} has {words} to give out"
    )


def _numa(fleet: Fleet, demand: Demand, position: int) -> Edit:
    nodes, host = fleet.nodes.get(position), fleet.hosts[position].key
    if nodes is None or len(nodes.capacity) < demand.numa:
        has = 0 if nodes is None else len(nodes.capacity)
        return Edit(
            kind=EditKind.DROP_NUMA,
            name=str(demand.numa),
            sentence=f"the VM does not ask for {count(demand.numa, 'NUMA node')} ({host} has {has})",
        )
    rooms = numa_rooms(nodes, demand)
    words = " and ".join(f"{size(room.cpu, room.memory)} more on node {room.node}" for room in rooms)
    return Edit(
        kind=EditKind.MORE_NUMA_ROOM,
        host=host,
        amount=len(rooms),
        nodes=rooms,
        sentence=f"{host} has {words} to give out",
    )


def numa_rooms(nodes: Nodes, demand: Demand) -> tuple[NodeRoom, ...]:
    """What those nodes lack that lack the least for the demand's number of nodes."""
    cpu, memory = demand.numa_share
    lacks = sorted(
        (max(cpu - free, 0) / max(cpu, 1) + max(memory - mib, 0) / max(memory, 1), n)
        for n, (free, mib) in enumerate(zip(nodes.cpu, nodes.memory, strict=True))
    )
    return tuple(
        NodeRoom(node=n, cpu=max(cpu - nodes.cpu[n], 0), memory=max(memory - nodes.memory[n], 0))
        for lack, n in lacks[: demand.numa]
        if lack > 0
    )


def _of_vm(demand: Demand, obstacle: Obstacle) -> Edit:
    if obstacle.reason is Reason.NAMED_HOST:
        return named_host_edit(demand)
    assert obstacle.reason is Reason.NAME_TAKEN
    return Edit(kind=EditKind.RENAME, name=demand.key, sentence=f"the VM has another id than {demand.key}")


def named_host_edit(demand: Demand) -> Edit:
    """The VM names no host."""
    name = str(demand.wanted_host)
    return Edit(kind=EditKind.DROP_NAMED_HOST, name=name, sentence=f"the VM need not start on {name}")


def rule_edits(fleet: Fleet, demand: Demand, host: Host) -> Iterator[Edit]:
    """The rules that would have to go for a host that stands as given; it need not be in the fleet so."""
    for number, rule in enumerate(demand.rules):
        if rule.hard and _breaks(fleet, demand, rule, host):
            yield Edit(
                kind=_DROPS[rule.kind],
                name=about(rule),
                rule=number,
                sentence=f"the VM drops its rule affinity[{number}], {rule.kind.value} {about(rule)}",
            )
    if demand.group is not None and any(
        _clashes(fleet, kind, scope, places, host)
        for (kind, scope), places in fleet.watches(demand.group, demand.key)
    ):
        yield Edit(
            kind=EditKind.LEAVE_GROUP,
            name=demand.group,
            sentence=f"the VM is not in the group {demand.group}",
        )


def _breaks(fleet: Fleet, demand: Demand, rule: Rule, host: Host) -> bool:
    if rule.group is None:
        return named(rule, host) is (rule.kind is RuleKind.AVOID)
    if rule.scope != HOST_SCOPE and rule.scope not in host.labels:
        return True
    return _clashes(fleet, rule.kind, rule.scope, fleet.members(rule.group, demand.key), host)


def _clashes(fleet: Fleet, kind: RuleKind, scope: str, places: Iterable[int], host: Host) -> bool:
    return any(
        same_place(fleet.hosts[position], host, scope) is (kind is RuleKind.APART) for position in places
    )
