"""What keeps a VM off hosts, rule by rule, for all hosts at once."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from hpgreedy.model import Demand, Rule, RuleKind
from hpgreedy.placement.constraints import LASTING, Case, Constraint
from hpgreedy.placement.constraints.already_there import ALREADY_THERE
from hpgreedy.placement.constraints.attachments import ACCELERATOR, BRIDGES, CPU_MODEL, NETWORKS, POOL
from hpgreedy.placement.constraints.groups import GROUPS, keeping
from hpgreedy.placement.constraints.hosts import HOSTS, words
from hpgreedy.placement.constraints.labels import LABELS
from hpgreedy.placement.constraints.name_taken import NAME_TAKEN
from hpgreedy.placement.constraints.named_host import NAMED_HOST
from hpgreedy.placement.constraints.numa import NUMA
from hpgreedy.placement.constraints.room import CPU, MEMORY, RESOURCES
from hpgreedy.placement.constraints.state import STATE
from hpgreedy.placement.decision import Reason, Rejection
from hpgreedy.placement.fleet import CPU as CPU_ROW
from hpgreedy.placement.fleet import MEMORY as MEMORY_ROW
from hpgreedy.placement.fleet import Fleet, positions
from hpgreedy.placement.fleet.masks import as_array
from protocol.spec.affinity import HOST_SCOPE

_OF_KIND = {kind: Reason(kind.value) for kind in RuleKind}


class Obstacle(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a VM asks for, and the mask of the hosts without it.

    name, value: which label, resource, bridge … it is; rule: the number of the VM's rule, scope: what
    is one place to a rule about VMs. row, need: the
    quantity and the amount of it, where the rule counts.
    """

    reason: Reason
    constraint: Constraint
    hosts: int
    name: str = ""
    value: str = ""
    rule: int | None = None
    scope: str = HOST_SCOPE
    row: int | None = None
    need: int = 0

    def reject(self, fleet: Fleet, demand: Demand, position: int) -> Rejection:
        """What it says of one of its hosts."""
        rejection = self.constraint.reject(Case(fleet, demand, position))
        assert rejection is not None
        return rejection

    def nearest(self, fleet: Fleet, mask: int) -> int:
        """The position of the host of `mask` that has the most, where the rule counts; else the first."""
        found = as_array(mask)
        if self.row is None:
            return int(found[0])
        return int(found[int(np.argmax(fleet.columns[self.row].array[found]))])


class Sorted(msgspec.Struct, frozen=True, kw_only=True):
    """All hosts, each under the first obstacle that it has; `taking` = the mask of those that have none."""

    classes: tuple[tuple[Obstacle, int], ...]
    taking: int


def obstacles(fleet: Fleet, demand: Demand) -> tuple[Obstacle, ...]:
    """All obstacles that stand in the VM's way on some host, in the order in which hosts are checked.

    That of NUMA may lack hosts whose nodes have the vCPUs and the memory, but not on the same ones.
    """
    every = (*_lasting(fleet, demand), *_passing(fleet, demand), *_room(fleet, demand))
    return tuple(each for each in every if each.hosts or each.reason is Reason.NUMA)


def sort(fleet: Fleet, demand: Demand, found: tuple[Obstacle, ...]) -> Sorted:
    """Each host under the first obstacle that it has."""
    left = fleet.everything
    classes = []
    for each in found:
        those = left & each.hosts
        if each.reason is Reason.NUMA:
            for position in positions(left & ~those):
                if fleet.nodes[position].place(demand) is None:
                    those |= 1 << position
        if those:
            classes.append((each, those))
            left ^= those
    return Sorted(classes=tuple(classes), taking=left)


def lasting(found: tuple[Obstacle, ...]) -> int:
    """The mask of the hosts that would not take the VM even if they were up and empty, room apart."""
    mask = 0
    for each in found:
        if each.constraint in LASTING:
            mask |= each.hosts
    return mask


def _lasting(fleet: Fleet, demand: Demand) -> Iterator[Obstacle]:
    everything, features = fleet.everything, fleet.features
    if demand.wanted_host is not None:
        yield Obstacle(
            reason=Reason.NAMED_HOST,
            constraint=NAMED_HOST,
            hosts=everything & ~NAMED_HOST.mask(fleet, demand),
            name=demand.wanted_host,
        )
    for name, value in demand.host_labels.items():
        without = everything & ~features.label(name, value)
        yield Obstacle(reason=Reason.LABEL, constraint=LABELS, hosts=without, name=name, value=value)
    for number, rule in enumerate(demand.rules):
        if rule.hard and rule.of_hosts:
            yield _of_rule(fleet, demand, number, rule, HOSTS)
    for bridge in sorted(demand.bridges):
        without = everything & ~features.bridge(bridge)
        yield Obstacle(reason=Reason.BRIDGE, constraint=BRIDGES, hosts=without, name=bridge)
    for network in sorted(demand.networks):
        without = everything & ~features.network(network)
        yield Obstacle(reason=Reason.NETWORK, constraint=NETWORKS, hosts=without, name=network)
    if demand.pool is not None:
        without = everything & ~features.pool(demand.pool)
        yield Obstacle(reason=Reason.POOL, constraint=POOL, hosts=without, name=demand.pool)
    if demand.cpu_model is not None:
        without = everything & ~features.cpu_model(demand.cpu_model)
        yield Obstacle(reason=Reason.CPU_MODEL, constraint=CPU_MODEL, hosts=without, name=demand.cpu_model)
    if demand.accelerator is not None:
        without = everything & ~features.accelerator(demand.accelerator)
        yield Obstacle(
            reason=Reason.ACCELERATOR, constraint=ACCELERATOR, hosts=without, name=demand.accelerator
        )


def _passing(fleet: Fleet, demand: Demand) -> Iterator[Obstacle]:
    everything = fleet.everything
    for reason, constraint in (
        (Reason.STATE, STATE),
        (Reason.ALREADY_THERE, ALREADY_THERE),
        (Reason.NAME_TAKEN, NAME_TAKEN),
    ):
        yield Obstacle(
            reason=reason, constraint=constraint, hosts=everything & ~constraint.mask(fleet, demand)
        )
    for number, rule in enumerate(demand.rules):
        if rule.hard and not rule.of_hosts:
            yield _of_rule(fleet, demand, number, rule, GROUPS)
    if demand.group is not None:
        yield from _of_others(fleet, demand, demand.group)


def _of_rule(fleet: Fleet, demand: Demand, number: int, rule: Rule, constraint: Constraint) -> Obstacle:
    alone = msgspec.structs.replace(demand, rules=(rule,), group=None)
    return Obstacle(
        reason=_OF_KIND[rule.kind],
        constraint=constraint,
        hosts=fleet.everything & ~constraint.mask(fleet, alone),
        name=about(rule),
        rule=number,
        scope=rule.scope,
    )


def _of_others(fleet: Fleet, demand: Demand, group: str) -> Iterator[Obstacle]:
    """The rules of placed VMs about the VM's group."""
    for (kind, scope), places in fleet.watches(group, demand.key):
        yield Obstacle(
            reason=_OF_KIND[kind],
            constraint=GROUPS,
            hosts=fleet.everything & ~keeping(fleet, kind, scope, places),
            name=group,
            scope=scope,
        )


def _room(fleet: Fleet, demand: Demand) -> Iterator[Obstacle]:
    everything = fleet.everything
    for name, need in demand.resources.items():
        if need:
            yield Obstacle(
                reason=Reason.RESOURCE,
                constraint=RESOURCES,
                hosts=everything & ~fleet.with_at_least(name, need),
                name=name,
                row=fleet.row.get(name),
                need=need,
            )
    for reason, constraint, row, need in (
        (Reason.CPU, CPU, CPU_ROW, demand.cpu),
        (Reason.MEMORY, MEMORY, MEMORY_ROW, demand.memory),
    ):
        short = everything & ~constraint.mask(fleet, demand)
        yield Obstacle(reason=reason, constraint=constraint, hosts=short, row=row, need=need)
    if demand.numa:
        short = everything & ~NUMA.mask(fleet, demand)
        yield Obstacle(reason=Reason.NUMA, constraint=NUMA, hosts=short, need=demand.numa)


def about(rule: Rule) -> str:
    """What a rule speaks of: a group, hosts or labels."""
    return words(rule) if rule.group is None else rule.group
