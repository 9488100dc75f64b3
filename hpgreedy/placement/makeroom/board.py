"""The fleet as a search sees it: read once, never changed, with the VMs that may move as arrays."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator

import numpy as np

from hpgreedy.model import Claim, Demand, HostState, RuleKind
from hpgreedy.placement.constraints import LASTING
from hpgreedy.placement.constraints.groups import mask as keeps_groups
from hpgreedy.placement.constraints.groups import place
from hpgreedy.placement.fleet import CPU, MEMORY, Fleet, lowest
from hpgreedy.placement.fleet.groups import watching
from hpgreedy.placement.fleet.masks import as_array, of_truths
from hpgreedy.placement.preferences import preferred
from protocol.spec.affinity import HOST_SCOPE

NEWCOMER = -1
"""Stands for the VM that room is made for, where VMs are numbers."""
LEAVES_FROM = frozenset({HostState.UP, HostState.DRAINING})
"""A live migration needs a source that answers; a VM's target must be up."""

Needs = tuple[tuple[int, int], ...]


class Vm:
    """What a VM asks for and where it stands; `nodes` are the NUMA nodes that it holds there.

    One that stands somewhere may go anywhere: the host it names is only where it starts.
    """

    __slots__ = ("demand", "grouped", "needs", "nodes", "position")

    def __init__(self, fleet: Fleet, demand: Demand, position: int, nodes: tuple[int, ...] = ()) -> None:
        self.demand = demand
        self.position = position
        self.nodes = nodes
        self.grouped = demand.group is not None or bool(demand.rules)
        self.needs = needs_of(fleet, demand)


class Board:
    """VMs are numbers: first those that may move, by memory, source host and key; then others that have a
    group or rules, which stand in the way. Hosts are positions.

    `homes` is where they stand, `at` (vms,) the same of those that may move, `needs` (rows, vms) what these
    take, `memory` (vms,) the cost of moving each and `costs` the same as a list, `free` (rows, hosts) what is
    free. Rows are those of the fleet's columns.
    """

    def __init__(self, fleet: Fleet, demand: Demand) -> None:
        self.fleet = fleet
        movable, fixed = _sorted_claims(fleet, demand.key)
        self.movers = len(movable)
        self._claims = [claim for *_, claim in (*movable, *fixed)]
        self.homes = [position for _, position, _, _ in (*movable, *fixed)]
        self._vms: dict[int, Vm] = {NEWCOMER: Vm(fleet, demand, -1)}
        self.free = np.stack([column.array for column in fleet.columns])
        self.at = np.array(self.homes[: self.movers], dtype=np.int64)
        self.costs = [memory for memory, _, _, _ in movable]
        self.needs = np.zeros((len(fleet.columns), self.movers), dtype=np.int64)
        self.needs[CPU] = [claim.demand.cpu for _, _, _, claim in movable]
        self.needs[MEMORY] = self.costs
        for name, row in fleet.row.items():
            self.needs[row] = [claim.demand.resources.get(name, 0) for _, _, _, claim in movable]
        self.memory = self.needs[MEMORY]
        self._members: dict[str, list[int]] = {}
        self._watchers: dict[str, list[tuple[int, RuleKind, str]]] = {}
        for number, claim in enumerate(self._claims):
            if claim.demand.group is not None or claim.demand.rules:
                self._index(number, claim.demand)
        self._on: dict[int, list[int]] = {}
        self._allowed: dict[Hashable, int] = {}
        self._to: dict[int, int] = {}
        self._roomy: dict[Needs, int] = {}
        self._keeping: dict[int, int] = {}
        self._clashes: dict[tuple[int, int], tuple[int, int] | None] = {}

    def vm(self, number: int) -> Vm:
        """The VM of a number."""
        found = self._vms.get(number)
        if found is None:
            claim = self._claims[number]
            found = Vm(self.fleet, claim.demand.unbound(), self.homes[number], claim.numa_nodes)
            self._vms[number] = found
        return found

    def free_on(self, position: int) -> list[int]:
        """What is free on the host by row; the list is the caller's."""
        return [column.values[position] for column in self.fleet.columns]

    def on(self, position: int) -> list[int]:
        """The VMs on the host that may move, ascending."""
        found = self._on.get(position)
        if found is None:
            found = self._on[position] = np.flatnonzero(self.at == position).tolist()
        return found

    def clash(self, number: int, target: int, where: dict[int, int]) -> tuple[int, int] | None:
        """A VM with which a rule is broken on the host, and the hosts that it should stand on instead.

        `where` is where VMs are that stand elsewhere than at first; below 0 they are in nobody's way.
        """
        if any(self.vm(other).grouped for other in where):
            return self._clash(number, target, where)
        key = number, target
        if key not in self._clashes:
            clean = self.keeping_groups(number) >> target & 1
            self._clashes[key] = None if clean else self._clash(number, target, where)
        return self._clashes[key]

    def _clash(self, number: int, target: int, where: dict[int, int]) -> tuple[int, int] | None:
        demand = self.vm(number).demand
        pairs = [
            (other, kind, scope)
            for group, (kind, scope) in sorted(watching(demand))
            for other in self._members.get(group, [])
        ]
        if demand.group is not None:
            pairs += self._watchers.get(demand.group, [])
        places: dict[str, int] = {}
        for other, kind, scope in pairs:
            at = where.get(other, self.homes[other])
            if at < 0 or other == number:
                continue
            if scope not in places:
                places[scope] = place(self.fleet, target, scope)
            here = places[scope]
            if (here >> at & 1) == (kind is RuleKind.APART):
                return other, ~here if kind is RuleKind.APART else here
        return None

    def allowed(self, number: int) -> int:
        """The mask of the hosts on which nothing but room, other VMs or itself keeps the VM off."""
        found = self._to.get(number)
        if found is None:
            demand, places = self.vm(number).demand, self.fleet.places(self.vm(number).demand.key)
            found = self._as_ever(demand) & ~self.fleet.features.foreign(demand.key)
            if number == NEWCOMER:
                for position in places:
                    found &= ~(1 << position)
            elif len(places) > 1:
                found = 0
            self._to[number] = found
        return found

    def _as_ever(self, demand: Demand) -> int:
        """The mask of the hosts that are up and are what the demand asks for."""
        scopes = frozenset(scope for _, (_, scope) in watching(demand) if scope != HOST_SCOPE)
        key = (demand.selector, demand.wanted_host, scopes, demand.numa)
        found = self._allowed.get(key)
        if found is None:
            found = self.fleet.up
            for constraint in LASTING:
                found &= constraint.mask(self.fleet, demand)
            for scope in scopes:
                found &= self.fleet.features.labelled(scope)
            if demand.numa:
                found &= self.fleet.with_nodes
            self._allowed[key] = found
        return found

    def with_room(self, number: int) -> int:
        """The mask of the hosts that have what the VM takes as things stand; NUMA nodes aside."""
        needs = self.vm(number).needs
        found = self._roomy.get(needs)
        if found is None:
            enough = np.ones(self.free.shape[1], dtype=bool)
            for row, amount in needs:
                enough &= self.free[row] >= amount
            found = self._roomy[needs] = of_truths(enough) & self.fleet.everything
        return found

    def keeping_groups(self, number: int) -> int:
        """The mask of the hosts on which no rule between VMs keeps the VM off as things stand."""
        vm = self.vm(number)
        if not vm.grouped:
            return self.fleet.everything
        found = self._keeping.get(number)
        if found is None:
            found = self._keeping[number] = keeps_groups(self.fleet, vm.demand)
        return found

    def by_preference(self, number: int, mask: int) -> Iterator[int]:
        """The hosts of the mask, best fit's first; those that break fewer soft rules before all others."""
        demand = self.vm(number).demand
        best: Callable[[int], int] = self.fleet.fullness.least
        soft = any(not rule.hard for rule in demand.rules)
        while mask:
            position = lowest(best(preferred(self.fleet, demand, mask) if soft else mask))
            mask ^= 1 << position
            yield position

    def _index(self, number: int, demand: Demand) -> None:
        if demand.group is not None:
            self._members.setdefault(demand.group, []).append(number)
        for rule in demand.rules:
            if rule.hard and rule.group is not None:
                self._watchers.setdefault(rule.group, []).append((number, rule.kind, rule.scope))


def needs_of(fleet: Fleet, demand: Demand) -> Needs:
    """What a VM takes as (row, amount), vCPUs and memory first; a row of -1 is of a resource nobody has."""
    if not demand.resources:
        return ((CPU, demand.cpu), (MEMORY, demand.memory))
    others = ((fleet.row.get(name, -1), amount) for name, amount in demand.resources.items() if amount)
    return ((CPU, demand.cpu), (MEMORY, demand.memory), *others)


def hosts_of(mask: int, size: int) -> np.ndarray:
    """The mask as truths by position, (size,)."""
    found = np.zeros(size, dtype=bool)
    if mask:
        found[as_array(mask)] = True
    return found


Held = tuple[int, int, str, Claim]


def _sorted_claims(fleet: Fleet, without: str) -> tuple[list[Held], list[Held]]:
    """The claims that may move, by memory, position and key; and the others that have a group or rules."""
    movable: list[Held] = []
    fixed: list[Held] = []
    for position, host in fleet.standing_hosts():
        leaves = host.state in LEAVES_FROM
        for claim in fleet.claims_on(position):
            held = claim.demand
            if held.key == without:
                continue
            if leaves and claim.movable and not held.pinned:
                movable.append((held.memory, position, held.key, claim))
            elif held.group is not None or held.rules:
                fixed.append((held.memory, position, held.key, claim))
    movable.sort()
    fixed.sort()
    return movable, fixed
