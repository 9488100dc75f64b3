"""The search for the cheapest chain of moves that makes room.

It goes through unfinished chains, the cheapest first, beginning with those that have no moves and put the VM
on some host. The first step of a chain that does not work says what is missing: a VM of a few must have left
(or come) before it, and each of them gives a chain with one move more, whose target is left open. Once
nothing is missing the targets are chosen. Every chain that works grows from each of its parts in this way, so
the first one that is complete and works is a cheapest one, and where none is left there is none.
(Uniform-cost search in the space of partial plans: Russell and Norvig, Artificial Intelligence.)
"""

from __future__ import annotations

import heapq

import msgspec

from hpgreedy.model import Demand
from hpgreedy.placement.decision import Move
from hpgreedy.placement.fleet import MEMORY, Fleet, positions
from hpgreedy.placement.makeroom.board import NEWCOMER, Board
from hpgreedy.placement.makeroom.effort import Effort, Spent
from hpgreedy.placement.makeroom.pairs import Pairs, Sets
from hpgreedy.placement.makeroom.plan import Limits, Plan, Search
from hpgreedy.placement.makeroom.walk import UNKNOWN, Chain, Flaw, Open, Walk
from hpgreedy.placement.makeroom.why import why

AFTER_THE_FIRST = 100
"""Unfinished chains that are looked at for a runner-up."""
ARRAYS = 500
"""VMs that are looked at as an array at the cost of one chain, about."""


class Partial(msgspec.Struct, frozen=True):
    """An unfinished chain. Of those who must leave for step `step` only VMs above `above` are still tried."""

    chain: Chain
    step: int = -1
    above: int = -1


class Rest(msgspec.Struct, frozen=True):
    """A chain whose step at `index` needs some set of VMs to leave first; those from `at` on are untried."""

    chain: Chain
    index: int
    sets: Sets
    at: int = 0


def search(fleet: Fleet, demand: Demand, limits: Limits) -> Search:
    """The cheapest chain: the least memory to move, then the fewest moves, then room on the first host in
    order of registration. The fleet is not changed.
    """
    return _Search(fleet, demand, limits).run()


class _Search:
    def __init__(self, fleet: Fleet, demand: Demand, limits: Limits) -> None:
        self.limits = limits
        self.depth = 0
        self.effort = Effort(limits)
        self.board = Board(fleet, demand)
        self.pairs = Pairs(self.board)
        self.heap: list[tuple[int, int, int, int, Partial | Rest]] = []
        self.serial = 0
        self.seen: set[Chain] = set()

    def run(self) -> Search:
        """Short chains first, so that something is known when the time is up."""
        best: Chain | None = None
        covered = 0
        try:
            for depth in range(1, self.limits.depth + 1):
                best = self._best(depth, best) or best
                covered = depth
        except Spent:
            pass
        if best is None:
            return Search(plan=None, depth=max(covered, 1), complete=covered > 0)
        complete = covered == self.limits.depth
        return self._answer(best, self._runner_up(best) if complete else None, complete=complete)

    def _best(self, depth: int, known: Chain | None) -> Chain | None:
        """The cheapest chain of up to `depth` moves, if it is cheaper than the one that is known."""
        self.depth = depth
        self.heap.clear()
        self.seen.clear()
        if all(row >= 0 for row, _ in self.board.vm(NEWCOMER).needs):
            self._spread(Chain(((NEWCOMER, UNKNOWN),)), 0, self.board.allowed(NEWCOMER))
        below = None if known is None else (self._memory(known), known.moves)
        return self._next_that_works(below=below)

    def _answer(self, chain: Chain, other: Chain | None, *, complete: bool) -> Search:
        hosts = self.board.fleet.hosts
        host = hosts[chain.steps[-1][1]].key
        moves, nodes = self._moves(chain)
        runner_up = None if other is None else hosts[other.steps[-1][1]].key
        instead = None if other is None else self._memory(other)
        plan = Plan(host=host, moves=moves, numa_nodes=nodes, why=why(host, moves, runner_up, instead))
        return Search(plan=plan, depth=self.limits.depth, complete=complete, runner_up=runner_up)

    def _next_that_works(
        self, *, below: tuple[int, int] | None = None, without: int | None = None, most: int | None = None
    ) -> Chain | None:
        """The next cheapest chain that works: cheaper than `below`, not to the host `without`, and among the
        next `most` unfinished ones.
        """
        while self.heap and most != 0 and (below is None or self.heap[0][:2] < below):
            entry = heapq.heappop(self.heap)[-1]
            self.effort.spend()
            if most is not None:
                most -= 1
            partial = self._first_of(entry) if isinstance(entry, Rest) else entry
            if partial.chain.steps[-1][1] == without or partial.chain in self.seen:
                continue
            found = self._advance(partial)
            if found is not None:
                return found
        return None

    def _runner_up(self, best: Chain) -> Chain | None:
        try:
            return self._next_that_works(without=best.steps[-1][1], most=AFTER_THE_FIRST)
        except Spent:
            return None

    def _first_of(self, rest: Rest) -> Partial:
        """The cheapest of what is untried; the others wait."""
        sets, at = rest.sets, rest.at
        self._push_rest(msgspec.structs.replace(rest, at=at + 1))
        vms = [int(vm) for vm in (sets.first[at], sets.second[at]) if vm >= 0]
        host = self.board.vm(vms[0]).position
        new = (Open(vm, 0, rest.index, self.board.allowed(vm) & ~(1 << host)) for vm in vms)
        return Partial(rest.chain.to(rest.index, host).opened(*new), rest.index, vms[-1])

    def _advance(self, partial: Partial) -> Chain | None:
        """Look for the first flaw; the chain with its targets chosen when there is none left."""
        chain = partial.chain
        self.seen.add(chain)
        spare = self.depth - chain.moves
        if spare < 0:
            return None
        flaw = Walk(self.board, chain).flaw()
        if flaw is None:
            found = self._settled(chain)
            if found is None and spare and chain.opens:
                self._help(chain)
            return found
        if spare:
            self._cure(partial, flaw, spare)
        return None

    def _cure(self, partial: Partial, flaw: Flaw, spare: int) -> None:
        """Open one more move, in each way that may help the step that does not work."""
        chain, lacking = partial.chain, flaw.lacking
        above = partial.above if lacking and partial.step == flaw.step else -1
        may = self.pairs.can_leave(spare - 1 + chain.moves)
        cures = [cure for cure in flaw.cures if cure.vm > above and may[cure.vm]]
        for n, cure in enumerate(cures):
            left = {row: lack - self._takes(cure.vm, row) for row, lack in lacking.items()}
            if not self._may_suffice(left, [other.vm for other in cures[n + 1 :]], spare - 1):
                continue
            more = 0
            if any(lack > 0 for lack in left.values()):
                more = max(left.get(MEMORY, 0), self.board.costs[cures[n + 1].vm])
            self._push(chain.opened(cure), flaw.step if lacking else -1, cure.vm, more)

    def _takes(self, vm: int, row: int) -> int:
        return int(self.board.needs[row, vm])

    def _may_suffice(self, left: dict[int, int], others: list[int], most: int) -> bool:
        """Whether up to `most` of the others take as much as is left of every row."""
        wanted = [(row, lack) for row, lack in left.items() if lack > 0]
        return not wanted or (
            most > 0
            and all(
                lack <= sum(sorted((self._takes(vm, row) for vm in others), reverse=True)[:most])
                for row, lack in wanted
            )
        )

    def _settled(self, chain: Chain) -> Chain | None:
        """The chain with its open moves made steps that work as they are; None when that cannot be."""
        if not chain.opens:
            return chain
        opened, choices = min(((o, self._choices(chain, o)) for o in chain.opens), key=_count)
        for index, mask in choices:
            for position in self.board.by_preference(opened.vm, mask):
                self.effort.spend()
                bound = chain.bound(opened, index, position)
                if Walk(self.board, bound).flaw() is None:
                    found = self._settled(bound)
                    if found is not None:
                        return found
        return None

    def _choices(self, chain: Chain, opened: Open) -> list[tuple[int, int]]:
        """Before which steps the move could come, and to which hosts, as far as room and rules go."""
        board, vm = self.board, opened.vm
        found: list[tuple[int, int]] = []
        rules = board.fleet.everything if self._rules_shift(chain, vm) else board.keeping_groups(vm)
        for index in range(opened.since, opened.before + 1):
            walk = Walk(board, chain)
            walk.go_to(index)
            mask = board.with_room(vm)
            for position, free in walk.free.items():
                has = all(free[row] >= amount for row, amount in board.vm(vm).needs)
                mask = mask | 1 << position if has else mask & ~(1 << position)
            found.append((index, mask & opened.to & rules))
        return found

    def _rules_shift(self, chain: Chain, vm: int) -> bool:
        """Whether another VM of the chain may change where rules let this one go."""
        board = self.board
        others = {*(step[0] for step in chain.steps), *(o.vm for o in chain.opens)} - {vm}
        return board.vm(vm).grouped and any(board.vm(other).grouped for other in others)

    def _help(self, chain: Chain) -> None:
        """The open moves cannot all be made as things stand: choose one's target, though others go first."""
        opened, choices = min(((o, self._choices(chain, o)) for o in chain.opens), key=_count)
        rest = tuple(o for o in chain.opens if o is not opened)
        for index, _ in choices:
            self._spread(chain.with_step(index, (opened.vm, UNKNOWN), rest), index, opened.to)

    def _spread(self, chain: Chain, index: int, to: int) -> None:
        """Let the step at `index` go to any host of `to`, one at a time.

        Where room is lacking it is known at once who would have to leave first, whatever else is wrong.
        """
        board, vm = self.board, chain.steps[index][0]
        self.effort.spend(1 + board.movers // ARRAYS)
        spare = self.depth - chain.moves
        others = {*(step[0] for step in chain.steps), *(o.vm for o in chain.opens)} - {NEWCOMER}
        apart = board.with_room(vm)
        for position in (board.vm(other).position for other in others):
            apart |= 1 << position
        for _, position in chain.steps:
            if position != UNKNOWN:
                apart |= 1 << position
        for position in positions(apart & to):
            self._push(chain.to(index, position))
        if spare > 0:
            sets = self.pairs.making_way(
                board.vm(vm).needs, to & ~apart, spare, frozenset(others), index + len(chain.opens)
            )
            self._push_rest(Rest(chain, index, sets))

    def _push(self, chain: Chain, step: int = -1, above: int = -1, more: int = 0) -> None:
        """`more` is the least memory that must move besides."""
        host = chain.steps[-1][1]
        self._put(self._memory(chain) + more, chain.moves, host, Partial(chain, step, above))

    def _push_rest(self, rest: Rest) -> None:
        if rest.at < len(rest.sets):
            memory = self._memory(rest.chain) + int(rest.sets.least[rest.at])
            moves = rest.chain.moves + int(rest.sets.moves[rest.at])
            host = rest.chain.steps[-1][1]
            self._put(memory, moves, int(rest.sets.hosts[rest.at]) if host == UNKNOWN else host, rest)

    def _put(self, memory: int, moves: int, host: int, entry: Partial | Rest) -> None:
        if moves <= self.depth:
            self.serial += 1
            heapq.heappush(self.heap, (memory, moves, host, self.serial, entry))

    def _memory(self, chain: Chain) -> int:
        costs = self.board.costs
        return sum(costs[vm] for vm, _ in chain.steps[:-1]) + sum(costs[each.vm] for each in chain.opens)

    def _moves(self, chain: Chain) -> tuple[tuple[Move, ...], tuple[int, ...]]:
        """The moves, and the newcomer's NUMA nodes."""
        hosts, walk = self.board.fleet.hosts, Walk(self.board, chain)
        sources = walk.sources()
        nodes = walk.nodes()
        moves = tuple(
            Move(
                vm=self.board.vm(vm).demand.key,
                source=hosts[source].key,
                target=hosts[target].key,
                memory=self.board.vm(vm).demand.memory,
                numa_nodes=nodes.get(index, ()),
            )
            for index, ((vm, target), source) in enumerate(zip(chain.steps[:-1], sources, strict=True))
        )
        return moves, nodes.get(len(chain.steps) - 1, ())


def _count(pair: tuple[Open, list[tuple[int, int]]]) -> int:
    return sum(mask.bit_count() for _, mask in pair[1])
