"""Walk through a chain that is still being thought of, up to the first step that does not work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from hpgreedy.placement.makeroom.board import NEWCOMER, Board
from hpgreedy.placement.makeroom.nodes import Comes, Event, Leaves, assign

AWAY = -2
"""Where a VM is whose target is left open: nowhere, and in nobody's way."""
UNKNOWN = -3
"""The target of a step that goes to any of several hosts."""

Step = tuple[int, int]
"""A VM's number and the position it goes to. The newcomer's step is the last one of a chain."""


class Open(NamedTuple):
    """A move that is wanted, its target not yet chosen: the VM goes to a host of the mask `to`, some time
    after the step before `since` and before the step `before`.
    """

    vm: int
    since: int
    before: int
    to: int


class Chain(msgspec.Struct, frozen=True):
    """Steps in their order, and moves that are still open."""

    steps: tuple[Step, ...]
    opens: tuple[Open, ...] = ()

    @property
    def moves(self) -> int:
        """How many moves it has at least: all its steps but the newcomer's, and those that are open."""
        return len(self.steps) - 1 + len(self.opens)

    def bound(self, opened: Open, index: int, position: int) -> Chain:
        """With one open move made a step, before the step that is now at `index`."""
        return self.with_step(index, (opened.vm, position), tuple(o for o in self.opens if o is not opened))

    def opened(self, *more: Open) -> Chain:
        """With more open moves."""
        return Chain(self.steps, tuple(sorted((*self.opens, *more))))

    def to(self, index: int, position: int) -> Chain:
        """With another target of the step at `index`."""
        step = (self.steps[index][0], position)
        return Chain((*self.steps[:index], step, *self.steps[index + 1 :]), self.opens)

    def with_step(self, index: int, step: Step, opens: tuple[Open, ...]) -> Chain:
        """With one step more, before the step that is now at `index`."""
        shifted = tuple(
            Open(o.vm, o.since + (index < o.since), o.before + (index <= o.before), o.to) for o in opens
        )
        return Chain((*self.steps[:index], step, *self.steps[index:]), tuple(sorted(shifted)))


class Flaw(msgspec.Struct, frozen=True):
    """The first step that does not work, and the moves one of which must come before it.

    lacking: what is missing, by row, where that is all. As long as only open moves are added then, the same
    cures come back, so that each set of them needs to be tried in ascending order only.
    """

    step: int
    cures: tuple[Open, ...]
    lacking: dict[int, int] = {}


class Walk:
    """The state before each step in turn. Open moves count as done from the first moment that they may be."""

    def __init__(self, board: Board, chain: Chain) -> None:
        self.board = board
        self.chain = chain
        self.where: dict[int, int] = {}
        self.moved: dict[int, int] = {}
        self.free: dict[int, list[int]] = {}
        self.events: dict[int, list[Event]] = {}
        self.arrivals: dict[tuple[int, int], int] = {}

    def flaw(self) -> Flaw | None:
        """Go to the end, or to the first step that does not work."""
        for index, (vm, target) in enumerate(self.chain.steps):
            self._leave_openly(index)
            found = self._flaw_of(index, vm, target)
            if found is not None:
                return found
            self._go(index, vm, target)
        return None

    def go_to(self, index: int) -> None:
        """Go up to the state before a step, as the steps before it are known to work."""
        for before, (vm, target) in enumerate(self.chain.steps[:index]):
            self._leave_openly(before)
            self._go(before, vm, target)
        self._leave_openly(index)

    def position(self, vm: int) -> int:
        """Where the VM is now."""
        found = self.where.get(vm)
        return self.board.vm(vm).position if found is None else found

    def sources(self) -> list[int]:
        """Go to the end of a chain that works: the position that each move leaves."""
        found: list[int] = []
        for index, (vm, target) in enumerate(self.chain.steps):
            if vm != NEWCOMER:
                found.append(self.position(vm))
            self._go(index, vm, target)
        return found

    def nodes(self) -> dict[int, tuple[int, ...]]:
        """After the end of a chain that works: the NUMA nodes by step, where the VM asks for some."""
        found: dict[int, tuple[int, ...]] = {}
        for position, events in self.events.items():
            given = assign(self.board.fleet.nodes[position], events)
            assert given is not None
            for (host, number), step in self.arrivals.items():
                if host == position:
                    found[step] = given[number]
        return found

    def _leave_openly(self, index: int) -> None:
        for opened in self.chain.opens:
            if opened.since == index:
                self._leave(opened.vm)
                self.where[opened.vm] = AWAY

    def _go(self, index: int, vm: int, target: int) -> None:
        if vm != NEWCOMER:
            self._leave(vm)
            self.moved[vm] = index + 1
        self.where[vm] = target
        self._change(vm, target, -1)
        if self.board.vm(vm).demand.numa:
            events = self.events.setdefault(target, [])
            self.arrivals[target, len(events)] = index
            events.append(Comes(vm, self.board.vm(vm).demand))

    def _leave(self, vm: int) -> None:
        source = self.position(vm)
        if source == AWAY:
            return
        self._change(vm, source, 1)
        known = self.board.vm(vm)
        if known.demand.numa and source in self.board.fleet.nodes:
            self.events.setdefault(source, []).append(Leaves(vm, known.demand, known.nodes))

    def _change(self, vm: int, position: int, sign: int) -> None:
        free = self.free.get(position)
        if free is None:
            free = self.free[position] = self.board.free_on(position)
        for row, amount in self.board.vm(vm).needs:
            free[row] += sign * amount

    def _flaw_of(self, index: int, vm: int, target: int) -> Flaw | None:
        if vm != NEWCOMER and self.position(vm) == target:
            return Flaw(index, tuple(self._cures(index, [vm], ~(1 << target))))
        if self.board.vm(vm).grouped:
            clash = self.board.clash(vm, target, self.where)
            if clash is not None:
                return Flaw(index, tuple(self._cures(index, [clash[0]], clash[1])))
        lacking = self._lacking(vm, target)
        if lacking:
            takers = [other for other in self._standing(target, vm) if self._takes(other, lacking)]
            return Flaw(index, tuple(self._cures(index, takers, ~(1 << target))), lacking)
        if self.board.vm(vm).demand.numa and not self._nodes_fit(vm, target):
            return Flaw(index, self._node_cures(index, target))
        return None

    def _lacking(self, vm: int, target: int) -> dict[int, int]:
        free = self.free.get(target)
        if free is None:
            columns, needs = self.board.fleet.columns, self.board.vm(vm).needs
            return {row: n for row, amount in needs if (n := amount - columns[row].values[target]) > 0}
        return {row: n for row, amount in self.board.vm(vm).needs if (n := amount - free[row]) > 0}

    def _takes(self, vm: int, rows: dict[int, int]) -> bool:
        return any(amount and row in rows for row, amount in self.board.vm(vm).needs)

    def _standing(self, position: int, without: int) -> list[int]:
        """The VMs that may move and stand on the host now, ascending."""
        here = [vm for vm in self.board.on(position) if vm not in self.where]
        here += [vm for vm, at in self.where.items() if at == position]
        return sorted(vm for vm in here if vm != without)

    def _cures(self, index: int, vms: list[int], to: int) -> Iterator[Open]:
        for vm in vms:
            if 0 <= vm < self.board.movers:
                mask = self.board.allowed(vm) & to
                if mask:
                    yield Open(vm, self.moved.get(vm, 0), index, mask)

    def _nodes_fit(self, vm: int, target: int) -> bool:
        events = [*self.events.get(target, []), Comes(vm, self.board.vm(vm).demand)]
        return assign(self.board.fleet.nodes[target], events) is not None

    def _node_cures(self, index: int, target: int) -> tuple[Open, ...]:
        """Which nodes an earlier arrival is given matters too, so what is there before it may leave then."""
        again = Walk(self.board, self.chain)
        found: list[Open] = []
        for step, (vm, position) in enumerate(self.chain.steps[: index + 1]):
            again._leave_openly(step)
            if position == target and self.board.vm(vm).demand.numa:
                pinned = [o for o in again._standing(target, vm) if self.board.vm(o).demand.numa]
                found += again._cures(step, pinned, ~(1 << target))
            again._go(step, vm, position)
        return tuple(found)
