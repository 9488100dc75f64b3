"""With which VM's host a host breaks a rule about VMs, for many hosts at once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable

from hpgreedy.model import Demand
from hpgreedy.placement.decision import Reason
from hpgreedy.placement.explain.obstacles import Obstacle
from hpgreedy.placement.fleet import Fleet
from protocol.spec.affinity import HOST_SCOPE

Key = Callable[[int], Hashable]
HERE, UNLABELLED = -1, -2


def clash_key(fleet: Fleet, demand: Demand, obstacle: Obstacle) -> Key:
    """For the hosts of a class: the position they are rejected with, `HERE` for their own."""
    places = list(_places(fleet, demand, obstacle))
    label = _label(fleet, obstacle.scope)
    find = _apart if obstacle.reason is Reason.APART else _together
    key = find(places, label)
    if obstacle.rule is None or obstacle.scope == HOST_SCOPE:
        return key
    return lambda position: UNLABELLED if label(position) is None else key(position)


def _places(fleet: Fleet, demand: Demand, obstacle: Obstacle) -> Iterable[int]:
    if obstacle.rule is not None:
        group = demand.rules[obstacle.rule].group
        assert group is not None
        return fleet.members(group, demand.key)
    watches = fleet.watches(obstacle.name, demand.key)
    return next(
        places
        for (kind, scope), places in watches
        if (kind.value, scope) == (obstacle.reason.value, obstacle.scope)
    )


def _label(fleet: Fleet, scope: str) -> Callable[[int], str | None]:
    if scope == HOST_SCOPE:
        return lambda _position: None
    return lambda position: fleet.hosts[position].labels.get(scope)


def _apart(places: list[int], label: Callable[[int], str | None]) -> Key:
    first: dict[str, int] = {}
    for position in places:
        value = label(position)
        if value is not None:
            first.setdefault(value, position)

    def key(position: int) -> Hashable:
        value = label(position)
        found = HERE if value is None else first.get(value)
        return HERE if found == position else found

    return key


def _together(places: list[int], label: Callable[[int], str | None]) -> Key:
    one = places[0] if places else HERE
    place = label(one) if places else None
    other = next((p for p in places if p != one and (place is None or label(p) != place)), HERE)
    return lambda position: (
        other if position == one or (place is not None and label(position) == place) else one
    )
