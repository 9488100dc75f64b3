"""Which groups stand where, and which placed VMs' hard rules speak of them."""

from __future__ import annotations

from collections.abc import Iterator

from hpgreedy.model import Demand, RuleKind

Watch = tuple[RuleKind, str]
Own = tuple[tuple[int, Demand], ...]


class Groups:
    """Counts by group and position. A VM that is being moved stands at both its ends.

    `own` is where one VM stands and as what: what it counts for is left out of an answer.
    """

    def __init__(self) -> None:
        self._members: dict[str, dict[int, int]] = {}
        self._watches: dict[str, dict[Watch, dict[int, int]]] = {}

    def count(self, position: int, demand: Demand, by: int) -> None:
        """A VM stands at the position (1), or no more (-1)."""
        if demand.group is not None:
            members = self._members.setdefault(demand.group, {})
            _count(members, position, by)
            if not members:
                del self._members[demand.group]
        for group, watch in watching(demand):
            watches = self._watches.setdefault(group, {})
            places = watches.setdefault(watch, {})
            _count(places, position, by)
            if not places:
                del watches[watch]
            if not watches:
                del self._watches[group]

    def members(self, group: str, own: Own) -> dict[int, int]:
        """How many members of the group stand at each position."""
        found = self._members.get(group, {})
        if not own:
            return found
        found = dict(found)
        for position, demand in own:
            if demand.group == group:
                _count(found, position, -1)
        return found

    def watches(self, group: str, own: Own) -> Iterator[tuple[Watch, tuple[int, ...]]]:
        """The hard rules about the group, and where the VMs stand that have them."""
        for watch, found in tuple(self._watches.get(group, {}).items()):
            left = dict(found) if own else found
            for position, demand in own:
                if (group, watch) in watching(demand):
                    _count(left, position, -1)
            if left:
                yield watch, tuple(left)


def watching(demand: Demand) -> set[tuple[str, Watch]]:
    """The groups that the demand's hard rules speak of, with what they say."""
    return {
        (rule.group, (rule.kind, rule.scope)) for rule in demand.rules if rule.hard and rule.group is not None
    }


def _count(counts: dict[int, int], position: int, by: int) -> None:
    count = counts.get(position, 0) + by
    if count:
        counts[position] = count
    else:
        counts.pop(position, None)
