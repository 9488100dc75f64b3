"""What is known of every host's death, kept up to date with the fleet."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

import msgspec

from hpgreedy.model import Claim, Demand
from hpgreedy.placement.decision import Move, Placed
from hpgreedy.placement.fleet import Fleet
from hpgreedy.placement.restart.bonds import Bonds
from hpgreedy.placement.restart.loss import Loss
from hpgreedy.placement.restart.search import (
    Restart,
    besides,
    bound_to_others,
    lost_with,
    restart,
    still,
    take,
)

MOST_SAID = 3
"""Losses that are looked for before a placement is judged."""
FEW = 4
"""VMs for which homes are looked for beside those of a host's other VMs; for more, all are."""
LOOKS = 32
"""Hosts with stranded VMs that one question looks at again, in turn, after something has changed."""


class _Known(msgspec.Struct, frozen=True):
    """Homes found for a host's VMs. bound: rules between VMs decide about them. moving: some of the host's
    VMs hold room on another one already.
    """

    found: Restart
    bound: bool
    moving: bool

    def holds(self, fleet: Fleet, touched: Iterable[int], others: Sequence[Demand]) -> bool:
        """Whether the homes are still good, where nothing has changed but on the `touched` hosts; others:
        what has come or gone there.
        """
        return not self.moving and still(fleet, self.found.homes, touched, others if self.bound else ())


class Restarts:
    """For each host of a fleet, where its VMs would be restarted.

    Homes that were found stay good until something changes where they are, so a question costs as much as
    has changed since the last one, and not the whole fleet. VMs that were stranded may be called so for some
    questions longer than they are, on fleets with more than `LOOKS` such hosts.
    """

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self._known: dict[int, _Known] = {}
        self._hosts_of: dict[int, set[int]] = {}
        self._guests: dict[int, set[int]] = {}
        self._unsafe: set[int] = set()
        self._due: dict[int, None] = {}
        self._bonds = Bonds(fleet)
        self._version = -1

    def losses(self) -> tuple[Loss, ...]:
        """The hosts whose VMs could not all be restarted, in order of registration."""
        self._refresh()
        return tuple(
            _loss(self.fleet, position, self._known[position].found.left) for position in sorted(self._unsafe)
        )

    def caused_by(self, demand: Demand, placed: Placed, most: int = MOST_SAID) -> tuple[Loss, ...]:
        """The first losses that the placement, its moves done, would add to those there are.

        Nothing is changed. The new VM itself must be one that could be restarted.
        """
        new = Claim(demand=demand, host=placed.host, numa_nodes=placed.numa_nodes)
        return self._caused(placed.moves, new, most)

    def caused_by_moves(self, moves: tuple[Move, ...], most: int = MOST_SAID) -> tuple[Loss, ...]:
        """The first losses that the moves alone, when they are done, would add; nothing is changed."""
        return self._caused(moves, None, most)

    def _caused(self, moves: tuple[Move, ...], new: Claim | None, most: int) -> tuple[Loss, ...]:
        self._refresh()
        with self._as_if(moves, new) as touched:
            suspects = set(touched)
            for position in touched:
                suspects |= self._guests.get(position, set())
            others = list(self._concerned(moves, new))
            suspects |= self._bonds.with_rules_about(others)
            ordered = sorted(suspects, key=lambda position: (position not in touched, position))
            found = (self._worse(position, touched, others, bool(moves)) for position in ordered)
            return tuple(islice((loss for loss in found if loss is not None), most))

    def _worse(
        self, position: int, touched: Sequence[int], others: Sequence[Demand], moved: bool
    ) -> Loss | None:
        known = self._known.get(position)
        if known is not None and position not in touched and known.holds(self.fleet, touched, others):
            return None
        before = known.found.left if known is not None else ()
        given_up = {demand.key for demand in before}
        # What is moved and had nowhere to restart is no worse off elsewhere.
        if moved:
            given_up |= {d.key for at in touched if at in self._known for d in self._known[at].found.left}
        wanted = [demand for demand in lost_with(self.fleet, position) if demand.key not in given_up]
        # More VMs are likely to come where this one goes: homes elsewhere last longer.
        hot = sum(1 << at for at in touched)
        again = self._mended(position, wanted, touched) or restart(self.fleet, position, wanted, hot)
        if again.left:
            return _loss(self.fleet, position, again.left)
        if position not in touched and not moved:
            # With less on the other hosts these homes are as good: they hold now, too.
            self._keep(position, Restart(again.homes, before))
        return None

    def _refresh(self) -> None:
        if self.fleet.changes.version != self._version:
            self._follow()
        for position in list(islice(self._due, LOOKS)):
            del self._due[position]
            if position in self._unsafe:
                self._look(position)

    def _follow(self) -> None:
        """What has changed may have taken homes away; whom it has given some is left to later questions."""
        changes = self.fleet.changes
        touched = set(changes.since(self._version))
        suspects = set(touched)
        for position in touched:
            suspects |= self._guests.get(position, set())
        others, relabelled = self._bonds.changed(touched)
        joined = self._bonds.all() if relabelled else self._bonds.with_rules_about(others)
        suspects |= joined
        if relabelled:
            for position in joined:
                del self._known[position]
        for position in sorted(suspects):
            known = self._known.get(position)
            if known is not None and position not in touched and known.holds(self.fleet, touched, others):
                continue
            wanted = lost_with(self.fleet, position)
            mended = None if position in self._unsafe else self._mended(position, wanted, touched)
            self._keep(position, mended or restart(self.fleet, position, wanted))
        self._version = changes.version
        self._due.update(dict.fromkeys(sorted(self._unsafe)))

    def _mended(self, position: int, wanted: Sequence[Demand], touched: Collection[int]) -> Restart | None:
        """The known homes, as far as they are still good, and new ones for the rest of `wanted`; None
        when these are not easily found.
        """
        known = self._known.get(position)
        if known is None or known.moving:
            return None
        # A host's own VMs are dead when homes are needed: what changes on it alone breaks no rule elsewhere.
        checked = known.bound and any(at != position for at in touched)
        missing = {demand.key: demand for demand in wanted}
        homes: dict[int, tuple[Demand, ...]] = {}
        for target, demands in known.found.homes.items():
            kept = tuple(demand for demand in demands if missing.get(demand.key) == demand)
            if kept and (not (checked or target in touched) or take(self.fleet, target, kept)):
                homes[target] = kept
                for demand in kept:
                    del missing[demand.key]
        if len(missing) > FEW or self._moving(position):
            return None
        found = besides(self.fleet, position, tuple(missing.values()), homes)
        return None if found is None else Restart(found, ())

    def _moving(self, position: int) -> bool:
        """Whether VMs of the host hold room on another one."""
        return any(len(self.fleet.places(c.demand.key)) > 1 for c in self.fleet.claims_on(position))

    def _look(self, position: int) -> None:
        self._keep(position, restart(self.fleet, position, lost_with(self.fleet, position)))

    def _keep(self, position: int, found: Restart) -> None:
        for target in self._hosts_of.pop(position, ()):
            self._guests[target].discard(position)
        ends = {
            at for claim in self.fleet.claims_on(position) for at in self.fleet.places(claim.demand.key)
        } - {position}
        self._hosts_of[position] = ends | found.homes.keys()
        for target in self._hosts_of[position]:
            self._guests.setdefault(target, set()).add(position)
        demands = [demand for each in (found.left, *found.homes.values()) for demand in each]
        bound = bound_to_others(demands)
        self._bonds.put(position, demands if bound else ())
        self._known[position] = _Known(found, bound, bool(ends))
        (self._unsafe.add if found.left else self._unsafe.discard)(position)

    def _concerned(self, moves: tuple[Move, ...], new: Claim | None) -> Iterator[Demand]:
        """What stands elsewhere, once the moves are done, and what is new."""
        if new is not None:
            yield new.demand
        for move in moves:
            for claim in self.fleet.claims_on(self.fleet.position[move.target]):
                if claim.demand.key == move.vm:
                    yield claim.demand

    @contextmanager
    def _as_if(self, moves: tuple[Move, ...], new: Claim | None) -> Iterator[list[int]]:
        """With the moves done and the new VM in its place; the positions of the hosts that this concerns."""
        fleet = self.fleet
        hosts = {host for move in moves for host in (move.source, move.target)}
        if new is not None:
            hosts.add(new.host)
        touched = sorted(fleet.position[host] for host in hosts)
        kept = {at: list(fleet.claims_on(at)) for at in touched} if moves else {}
        with fleet.changes.trial():
            try:
                for move in moves:
                    fleet.move(move.vm, move.source, move.target, move.numa_nodes)
                if new is not None:
                    fleet.add(new)
                yield touched
            finally:
                if new is not None:
                    fleet.remove(new.demand.key, new.host)
                for at, claims in kept.items():
                    _put_back(fleet, at, claims)


def _put_back(fleet: Fleet, position: int, claims: list[Claim]) -> None:
    """These claims and no others, in their order."""
    for claim in list(fleet.claims_on(position)):
        fleet.remove(claim.demand.key, claim.host)
    for claim in claims:
        fleet.add(claim)


def _loss(fleet: Fleet, position: int, left: tuple[Demand, ...]) -> Loss:
    return Loss(host=fleet.hosts[position].key, vms=tuple(demand.key for demand in left))
