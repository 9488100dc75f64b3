"""The fleet as a search sees it: read once, never changed, with the VMs that may move as arrays."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator

import numpy as np

from hpgreedy.model import Claim, Demand, HostState, RuleKind
from hpgreedy.placement.constraints import LASTING
from hpgreedy.placement.constraints.groups import mask as keeps_groups
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
        self.grouped = _is_grouped(demand)
        self.needs = needs_of(fleet, demand)


class Board:
    """VMs are numbers: first those that may move, by memory, source host and key; then others that have a
    group or rules, which stand in the way. Hosts are positions.

    `at` (vms,) is where those that may move stand, `needs` (rows, vms) what they take, `memory` (vms,) the
    cost of moving each, `free` (rows, hosts) what is free. Rows are those of the fleet's columns.
    """

    def __init__(self, fleet: Fleet, demand: Demand) -> None:
        self.fleet = fleet
        movable, fixed = _sorted_claims(fleet, demand)
        self.movers = len(movable)
        self._claims = [*movable, *fixed]
        self._vms: dict[int, Vm] = {NEWCOMER: Vm(fleet, demand, -1)}
        self.free = np.stack([column.array for column in fleet.columns])
        self.at = np.array([position for position, _ in movable], dtype=np.int64)
        self.needs = np.zeros((len(fleet.columns), self.movers), dtype=np.int64)
        for row, amounts in _rows(fleet, movable):
            self.needs[row] = amounts
        self.memory = self.needs[MEMORY]
        self._on: dict[int, list[int]] = {}
        for number, (position, _) in enumerate(movable):
            self._on.setdefault(position, []).append(number)
        self._members: dict[str, list[int]] = {}
        self._watchers: dict[str, list[tuple[int, RuleKind, str]]] = {}
        for number, (_, claim) in enumerate(self._claims):
            if _is_grouped(claim.demand):
                self._index(number, claim.demand)
        self._allowed: dict[Hashable, int] = {}
        self._roomy: dict[Needs, int] = {}

    def vm(self, number: int) -> Vm:
        """The VM of a number."""
        found = self._vms.get(number)
        if found is None:
            position, claim = self._claims[number]
            found = Vm(self.fleet, claim.demand.unbound(), position, claim.numa_nodes)
            self._vms[number] = found
        return found

    def free_on(self, position: int) -> list[int]:
        """What is free on the host by row; the list is the caller's."""
        return [column.values[position] for column in self.fleet.columns]

    def on(self, position: int) -> list[int]:
        """The VMs on the host that may move, ascending."""
        return self._on.get(position, [])

    def members(self, group: str) -> list[int]:
        """The VMs of the group, wherever they stand."""
        return self._members.get(group, [])

    def watchers(self, group: str) -> list[tuple[int, RuleKind, str]]:
        """The VMs with a hard rule about the group, its kind and scope."""
        return self._watchers.get(group, [])

    def allowed(self, number: int) -> int:
        """The mask of the hosts on which nothing but room, other VMs or itself keeps the VM off."""
        vm = self.vm(number)
        demand = vm.demand
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
        found &= ~self.fleet.features.foreign(demand.key)
        if number == NEWCOMER:
            for position in self.fleet.places(demand.key):
                found &= ~(1 << position)
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
        return keeps_groups(self.fleet, vm.demand) if vm.grouped else self.fleet.everything

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
        for group, (kind, scope) in sorted(watching(demand)):
            self._watchers.setdefault(group, []).append((number, kind, scope))


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


def _is_grouped(demand: Demand) -> bool:
    return demand.group is not None or bool(demand.rules)


def _sorted_claims(fleet: Fleet, demand: Demand) -> tuple[list[tuple[int, Claim]], list[tuple[int, Claim]]]:
    """The claims that may move, by memory, position and key; and those that do not and have rules."""
    movable: list[tuple[int, Claim]] = []
    fixed: list[tuple[int, Claim]] = []
    for position, host in fleet.standing_hosts():
        leaves = host.state in LEAVES_FROM
        for claim in fleet.claims_on(position):
            held = claim.demand
            if held.key == demand.key:
                continue
            if leaves and claim.movable and not held.pinned and len(fleet.places(held.key)) == 1:
                movable.append((position, claim))
            elif held.group is not None or held.rules:
                fixed.append((position, claim))
    movable.sort(key=lambda pair: (pair[1].demand.memory, pair[0], pair[1].demand.key))
    fixed.sort(key=lambda pair: (pair[0], pair[1].demand.key))
    return movable, fixed


def _rows(fleet: Fleet, movable: list[tuple[int, Claim]]) -> Iterator[tuple[int, list[int]]]:
    yield CPU, [claim.demand.cpu for _, claim in movable]
    yield MEMORY, [claim.demand.memory for _, claim in movable]
    for name, row in fleet.row.items():
        yield row, [claim.demand.resources.get(name, 0) for _, claim in movable]
