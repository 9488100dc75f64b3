"""Which hosts' homes hard rules between VMs decide about, by the groups that these speak of."""

from __future__ import annotations

from collections.abc import Iterable

from hpgreedy.model import Demand
from hpgreedy.placement.fleet import Fleet
from hpgreedy.placement.fleet.groups import watching

_Seen = tuple[dict[str, str], dict[str, Demand]]
"""A host's labels, and the demands on it that have to do with groups, by key."""


class Bonds:
    """An index of hosts by the groups that the VMs homes were found for are in and have rules about."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._members: dict[str, set[int]] = {}
        self._watchers: dict[str, set[int]] = {}
        self._groups: dict[int, tuple[frozenset[str], frozenset[str]]] = {}
        self._seen: dict[int, _Seen] = {}

    def put(self, position: int, demands: Iterable[Demand]) -> None:
        """The host's VMs for which homes were looked for are these and no others."""
        groups, watched = set(), set()
        for demand in demands:
            if demand.group is not None:
                groups.add(demand.group)
            watched |= {group for group, _ in watching(demand)}
        old = self._groups.pop(position, (frozenset(), frozenset()))
        for index, before, after in (
            (self._members, old[0], groups),
            (self._watchers, old[1], watched),
        ):
            for group in before - after:
                index[group].discard(position)
                if not index[group]:
                    del index[group]
            for group in after - before:
                index.setdefault(group, set()).add(position)
        if groups or watched:
            self._groups[position] = frozenset(groups), frozenset(watched)

    def with_rules_about(self, demands: Iterable[Demand]) -> set[int]:
        """The hosts whose VMs have a rule about one of these VMs, or are spoken of by one of their rules."""
        found: set[int] = set()
        for demand in demands:
            if demand.group is not None:
                found |= self._watchers.get(demand.group, set())
            for group, _ in watching(demand):
                found |= self._members.get(group, set())
        return found

    def changed(self, touched: Iterable[int]) -> tuple[list[Demand], bool]:
        """What rules may speak of that has come or gone on the `touched` hosts since they were last asked
        about, and whether labels have changed: the places in which rules hold may be others then.
        """
        moved: list[Demand] = []
        relabelled = False
        for position in touched:
            labels, demands = self._seen.get(position, ({}, {}))
            now = self._look(position)
            relabelled |= labels != now[0]
            moved += [demand for key, demand in demands.items() if now[1].get(key) != demand]
            moved += [demand for key, demand in now[1].items() if demands.get(key) != demand]
            self._seen[position] = now
        return moved, relabelled

    def all(self) -> set[int]:
        """All hosts for whose VMs rules about groups matter."""
        return set(self._groups)

    def _look(self, position: int) -> _Seen:
        fleet = self._fleet
        claims = (claim.demand for claim in fleet.claims_on(position))
        return fleet.hosts[position].labels, {
            demand.key: demand for demand in claims if demand.group is not None or demand.rules
        }
