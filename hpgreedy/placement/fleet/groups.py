"""Which groups stand where, and which placed VMs' hard rules speak of them."""

from __future__ import annotations

from collections.abc import Iterator

from hpgreedy.model import Claim, Demand, Rule, RuleKind

Watch = tuple[RuleKind, str]


class Groups:
    """Counts by group and position. A VM that is being moved stands at both its ends."""

    def __init__(self) -> None:
        self._members: dict[str, dict[int, int]] = {}
        self._watches: dict[str, dict[Watch, dict[int, int]]] = {}

    def add(self, position: int, claim: Claim) -> None:
        """A claim stands at the position."""
        self._change(position, claim.demand, 1)

    def remove(self, position: int, claim: Claim) -> None:
        """A claim stands there no more."""
        self._change(position, claim.demand, -1)

    def members(self, group: str, without: Demand, at: tuple[int, ...]) -> dict[int, int]:
        """How many members of the group stand at each position, `without` one that stands `at` some."""
        found = self._members.get(group, {})
        if without.group != group or not at:
            return found
        left = {position: count - (1 if position in at else 0) for position, count in found.items()}
        return {position: count for position, count in left.items() if count}

    def watches(
        self, group: str, without: Demand, at: tuple[int, ...]
    ) -> Iterator[tuple[Watch, tuple[int, ...]]]:
        """The hard rules about the group and where the VMs stand that have them, `without` one VM's own."""
        own = {(rule.kind, rule.scope) for rule in watching(without) if rule.group == group}
        for watch, found in self._watches.get(group, {}).items():
            places = tuple(
                position
                for position, count in found.items()
                if count - (1 if watch in own and position in at else 0)
            )
            if places:
                yield watch, places

    def _change(self, position: int, demand: Demand, by: int) -> None:
        if demand.group is not None:
            _count(self._members.setdefault(demand.group, {}), position, by)
        for watch, group in {((rule.kind, rule.scope), rule.group) for rule in watching(demand)}:
            assert group is not None
            _count(self._watches.setdefault(group, {}).setdefault(watch, {}), position, by)


def watching(demand: Demand) -> Iterator[Rule]:
    """The demand's hard rules about groups."""
    return (rule for rule in demand.rules if rule.hard and not rule.of_hosts)


def _count(counts: dict[int, int], position: int, by: int) -> None:
    count = counts.get(position, 0) + by
    if count:
        counts[position] = count
    else:
        counts.pop(position, None)
