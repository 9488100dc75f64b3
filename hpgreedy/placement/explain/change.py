"""The smallest change that would admit a VM: of all hosts the one with the fewest edits, then the least."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from hpgreedy.model import Demand, Host, Node
from hpgreedy.placement.decision import Reason
from hpgreedy.placement.explain.edits import (
    edit_of,
    label_edit,
    named_host_edit,
    numa_rooms,
    rule_edits,
    shortage,
)
from hpgreedy.placement.explain.obstacles import Obstacle
from hpgreedy.placement.fleet import Fleet
from hpgreedy.placement.fleet.masks import as_array
from hpgreedy.placement.words import size
from protocol.explanation import Change, Edit, EditKind, NodeRoom, Shape

TRIED = 32
"""Hosts that are looked at closely, where what they need is not plain from the masks."""
NEW_HOST = "new-host"
NEW_HOST_COST = 2.0
"""A host more comes after any single edit of another kind."""

Cost = tuple[int, float]


def smallest_change(fleet: Fleet, demand: Demand, found: tuple[Obstacle, ...]) -> Change:
    """Edits after which a host takes the VM.

    The fewest; among as many, those that add the least (the share of the need that is missing; an edit that
    is no amount counts 1); among equals, on the host that was registered first. Where no host can be changed
    so (there is none, or the VM stands on all), or the VM names a host that is not there, a host more.
    """
    order, costs = _order(fleet, found)
    best: tuple[Cost, Change] | None = None
    for position in order[:TRIED]:
        if best is not None and costs(position) >= best[0]:
            break
        answer = _on_host(fleet, demand, found, position)
        if best is None or answer[0] < best[0]:
            best = answer
    if best is None or demand.wanted_host not in (None, *fleet.position):
        added = _with_new_host(fleet, demand)
        best = added if best is None or added[0] < best[0] else best
    return best[1]


def _order(fleet: Fleet, found: tuple[Obstacle, ...]) -> tuple[list[int], _Bounds]:
    """The positions that can be changed, those with the least to change first, and what it is at least."""
    total = len(fleet.hosts)
    number, relative = np.zeros(total, dtype=np.int64), np.zeros(total)
    for reason, hosts, each in _apart(found):
        where = as_array(hosts)
        number[where] += 1
        if reason in _COUNTED:
            relative[where] += _missing(fleet, each, where)
        elif reason is not Reason.NUMA:
            relative[where] += 1.0
    relative = np.round(relative, 9)
    possible = fleet.everything & ~_hosts_of(found, Reason.ALREADY_THERE)
    candidates = as_array(possible)
    order = candidates[np.lexsort((candidates, relative[candidates], number[candidates]))]
    return order[:TRIED].tolist(), _Bounds(number, relative)


def _apart(found: tuple[Obstacle, ...]) -> Iterator[tuple[Reason, int, Obstacle]]:
    """Each obstacle and the hosts on which it surely takes an edit of its own.

    Once a host has other labels a rule may be kept there, and leaving a group is one edit for all rules about
    the group.
    """
    relabelled, of_group = _hosts_of(found, Reason.LABEL), 0
    for each in found:
        hosts = each.hosts
        if each.reason in _RULES:
            hosts &= ~relabelled
            if each.rule is None:
                hosts &= ~of_group
                of_group |= hosts
        if hosts:
            yield each.reason, hosts, each


def _hosts_of(found: tuple[Obstacle, ...], reason: Reason) -> int:
    mask = 0
    for each in found:
        if each.reason is reason:
            mask |= each.hosts
    return mask


class _Bounds:
    """By position, what the change costs at least."""

    def __init__(self, number: np.ndarray, relative: np.ndarray) -> None:
        self._number, self._relative = number, relative

    def __call__(self, position: int) -> Cost:
        return int(self._number[position]), float(self._relative[position])


_COUNTED = (Reason.CPU, Reason.MEMORY, Reason.RESOURCE)
_RULES = (Reason.NEAR, Reason.AVOID, Reason.APART, Reason.TOGETHER)


def _missing(fleet: Fleet, obstacle: Obstacle, where: np.ndarray) -> np.ndarray:
    if obstacle.row is None:
        return np.ones(len(where))
    found: np.ndarray = (obstacle.need - fleet.columns[obstacle.row].array[where]) / max(obstacle.need, 1)
    return found


def _on_host(fleet: Fleet, demand: Demand, found: tuple[Obstacle, ...], position: int) -> tuple[Cost, Change]:
    host, relative = fleet.hosts[position], 0.0
    labels = {name: value for name, value in demand.host_labels.items() if host.labels.get(name) != value}
    # Labels decide what is near and what is one place, so the rules are asked of the host as labelled.
    labelled = msgspec.structs.replace(host, labels={**host.labels, **labels}) if labels else host
    edits = [label_edit(host.key, name, value) for name, value in labels.items()]
    edits += rule_edits(fleet, demand, labelled)
    relative += len(edits)
    for each in found:
        if each.reason in (Reason.LABEL, *_RULES) or not _stands(fleet, demand, each, position):
            continue
        edit = edit_of(fleet, demand, each, position)
        edits.append(edit)
        relative += _relative(fleet, demand, each, edit, position)
    return (len(edits), round(relative, 9)), _change(host.key, tuple(edits))


def _stands(fleet: Fleet, demand: Demand, obstacle: Obstacle, position: int) -> bool:
    if obstacle.reason is not Reason.NUMA or obstacle.hosts >> position & 1:
        return bool(obstacle.hosts >> position & 1)
    return fleet.nodes[position].place(demand) is None


def _relative(fleet: Fleet, demand: Demand, obstacle: Obstacle, edit: Edit, position: int) -> float:
    if obstacle.reason in _COUNTED:
        return shortage(fleet, obstacle, position) / max(obstacle.need, 1)
    if edit.kind is EditKind.MORE_NUMA_ROOM:
        cpu, memory = demand.numa_share
        rooms = numa_rooms(fleet.nodes[position], demand)
        lacks = (room.cpu / max(cpu, 1) + room.memory / max(memory, 1) for room in rooms)
        return sum(lacks) / demand.numa
    return 1.0


def _with_new_host(fleet: Fleet, demand: Demand) -> tuple[Cost, Change]:
    """A host that has what the VM asks for, and the rules that no new host could keep dropped."""
    cpu, memory = demand.numa_share if demand.numa else (0, 0)
    nodes = tuple(NodeRoom(node=n, cpu=cpu, memory=memory) for n in range(demand.numa))
    shape = Shape(
        cpu=max(demand.cpu, cpu * demand.numa),
        memory=max(demand.memory, memory * demand.numa),
        resources=demand.resources,
    )
    name = demand.wanted_host if demand.wanted_host not in (None, *fleet.position) else NEW_HOST
    assert name is not None
    host = Host(
        key=name,
        cpu=shape.cpu,
        memory=shape.memory,
        resources=shape.resources,
        labels=demand.host_labels,
        numa=tuple(Node(cpu=node.cpu, memory=node.memory) for node in nodes),
    )
    edits = tuple(rule_edits(fleet, demand, host))
    if demand.wanted_host not in (None, name):
        edits = (named_host_edit(demand), *edits)
    called = f" named {name}" if demand.wanted_host == name else ""
    add = Edit(
        kind=EditKind.ADD_HOST,
        name=name if called else "",
        shape=shape,
        labels=demand.host_labels,
        nodes=nodes,
        sentence=f"there is a host more{called}, with {_words(demand, shape)} free",
    )
    return (1 + len(edits), NEW_HOST_COST + len(edits)), _change(None, (add, *edits))


def _words(demand: Demand, shape: Shape) -> str:
    parts = [size(shape.cpu, shape.memory), *(f"{units} {name}" for name, units in shape.resources.items())]
    parts += [f"the label {name}={value}" for name, value in demand.host_labels.items()]
    if demand.numa:
        parts.append(f"{demand.numa} NUMA nodes with {size(*demand.numa_share)} each")
    return ", ".join(parts)


def _change(host: str | None, edits: tuple[Edit, ...]) -> Change:
    words = ", and ".join(edit.sentence for edit in edits)
    return Change(host=host, edits=edits, sentence=f"it would fit if {words}" if edits else "it fits now")
