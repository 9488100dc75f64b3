"""Where one host's VMs would be restarted if it died: bin packing onto what the others have free.

What is found is an assignment that keeps every hard rule, so it is never wrong to call these VMs
restartable. Finding one is a search by heuristics, so a VM may be called stranded for which a cleverer
search would have found room.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec

from hpgreedy.model import Claim, Demand
from hpgreedy.placement.constraints import check, feasible
from hpgreedy.placement.fleet import Fleet
from hpgreedy.placement.fleet.groups import watching
from hpgreedy.placement.question import Question

REPAIRS = 8
"""Attempts in which those that were left out before come first."""

TRIES_BESIDE = 4
"""Hosts that are tried for one VM more before all homes are looked for anew."""
GOLDEN = 0.6180339887498949
"""Multiples of it, without their whole parts, lie evenly between 0 and 1."""

Pick = Callable[[Question], int | None]


class Restart(msgspec.Struct, frozen=True):
    """Demands by the position of the host where they would be restarted, and those that would not."""

    homes: dict[int, tuple[Demand, ...]]
    left: tuple[Demand, ...]


def restart(fleet: Fleet, position: int, wanted: Sequence[Demand], hot: int = 0) -> Restart:
    """Try to find other hosts for `wanted`, VMs of the host at `position`, as if it had died; `hot` is the
    mask of those that are taken only where there is no way without them.
    """
    with fleet.changes.trial(), _dead(fleet, position, wanted):
        return _search(fleet, position, wanted, hot)


def still(
    fleet: Fleet, homes: Mapping[int, tuple[Demand, ...]], touched: Iterable[int], others: Sequence[Demand]
) -> bool:
    """Whether homes that were found are all good, where nothing has changed but on the `touched` hosts, and
    of what rules speak of only the `others` have come or gone. A dead host's VMs count as neighbours here,
    so that good homes may be called bad, never the reverse.
    """
    if not all(take(fleet, target, homes[target]) for target in touched if target in homes):
        return False
    groups = {demand.group for demand in others} - {None}
    watched = {group for demand in others for group, _ in watching(demand)}
    return all(
        check(fleet, demand, target) is None
        for target, demands in homes.items()
        for demand in demands
        if demand.group in watched or any(group in groups for group, _ in watching(demand))
    )


def lost_with(fleet: Fleet, position: int) -> list[Demand]:
    """The VMs that would need another host if this one died, as they would be restarted.

    One that holds room on another host that is up, as it is being moved, would be restarted there.
    """
    found = []
    for claim in fleet.claims_on(position):
        places = fleet.places(claim.demand.key)
        if len(places) == 1 or not any(fleet.up >> at & 1 for at in places if at != position):
            found.append(_anywhere(claim.demand))
    return found


def besides(
    fleet: Fleet, position: int, missing: Sequence[Demand], homes: Mapping[int, tuple[Demand, ...]]
) -> dict[int, tuple[Demand, ...]] | None:
    """The `homes` of VMs of the host at `position` and some for the `missing` ones, where they are easily
    found. The host's VMs count as neighbours still, so that rules may hide a home, and never feign one.
    """
    found, held = dict(homes), list[tuple[int, Demand]]()
    groups = {demand.group for demand in missing}
    watched = {group for demand in missing for group, _ in watching(demand)}
    with fleet.changes.trial():
        try:
            if groups != {None} or watched:
                for target, demands in homes.items():
                    for demand in demands:
                        if demand.group in watched or any(group in groups for group, _ in watching(demand)):
                            _hold(fleet, demand, target)
                            held.append((target, demand))
            for demand in missing:
                there = {each.key for _, each in held}
                home = _beside(fleet, position, demand, found, there)
                if home is None:
                    return None
                found[home] = (*found.get(home, ()), demand)
                if bound_to_others([demand]):
                    _hold(fleet, demand, home)
                    held.append((home, demand))
        finally:
            for target, demand in held:
                fleet.remove(demand.key, fleet.hosts[target].key)
    return found


def _beside(
    fleet: Fleet,
    position: int,
    demand: Demand,
    homes: Mapping[int, tuple[Demand, ...]],
    held: Collection[str],
) -> int | None:
    """A home for one more VM beside the `homes` of the others, of which those in `held` count already."""
    question = Question(fleet, demand, without=1 << position)
    for _ in range(TRIES_BESIDE):
        target = question.first_from(_begin(fleet, position))
        if target is None:
            return None
        others = (each for each in homes.get(target, ()) if each.key not in held)
        if take(fleet, target, (*others, demand)):
            return target
        question = question.without(target)
    return None


def take(fleet: Fleet, target: int, demands: Sequence[Demand]) -> bool:
    """Whether the host takes all of them together, with what is held now."""
    if not bound_to_others(demands) and not any(demand.numa for demand in demands):
        return _take_by_sums(fleet, target, demands)
    held: list[Demand] = []
    with fleet.changes.trial():
        try:
            for demand in demands:
                if check(fleet, demand, target) is not None:
                    return False
                _hold(fleet, demand, target)
                held.append(demand)
        finally:
            for demand in held:
                fleet.remove(demand.key, fleet.hosts[target].key)
    return True


def _take_by_sums(fleet: Fleet, target: int, demands: Sequence[Demand]) -> bool:
    """The same, for VMs that have to do with each other in what they take alone."""
    total: dict[int, int] = {}
    for demand in demands:
        if not feasible(fleet, demand) >> target & 1:
            return False
        for row, amount in fleet.needs(demand):
            total[row] = total.get(row, 0) + amount
    return all(fleet.columns[row].values[target] >= amount for row, amount in total.items())


def bound_to_others(demands: Iterable[Demand]) -> bool:
    """Whether rules between VMs may decide where one of them goes."""
    return any(demand.group is not None or demand.rules for demand in demands)


def _anywhere(demand: Demand) -> Demand:
    """A VM starts again wherever it may: the host it was to begin on and soft rules do not count."""
    if any(not rule.hard for rule in demand.rules):
        hard = tuple(rule for rule in demand.rules if rule.hard)
        demand = msgspec.structs.replace(demand, rules=hard)
    return demand.unbound()


@contextmanager
def _dead(fleet: Fleet, position: int, wanted: Sequence[Demand]) -> Iterator[None]:
    """Without the host's claims, where they matter: a VM that is dead is nobody's neighbour."""
    if not bound_to_others(wanted):
        yield
        return
    claims = list(fleet.claims_on(position))
    for claim in claims:
        fleet.remove(claim.demand.key, claim.host)
    try:
        yield
    finally:
        for claim in claims:
            fleet.add(claim)


def _search(fleet: Fleet, position: int, wanted: Sequence[Demand], hot: int) -> Restart:
    dead = 1 << position
    ordered = sorted(wanted, key=lambda demand: (-_size(fleet, demand), demand.key))
    begin = _begin(fleet, position)
    for avoided in (dead | hot, dead) if hot else (dead,):
        best = _attempt(fleet, ordered, avoided, lambda question: question.first_from(begin))
        if not best.left:
            return best
    hopeless = {d.key for d in best.left if Question(fleet, d, without=dead).first() is None}
    hoped = [demand for demand in ordered if demand.key not in hopeless]
    left = tuple(demand for demand in ordered if demand.key in hopeless)
    if len(best.left) > len(hopeless):
        best = _harder(fleet, hoped, dead)
        left = (*best.left, *left)
    return Restart(best.homes, left)


def _begin(fleet: Fleet, position: int) -> int:
    """Where a host's VMs first look for homes: spread evenly, these are seldom taken by VMs to come."""
    return int(position * GOLDEN * len(fleet.hosts)) % len(fleet.hosts)


def _harder(fleet: Fleet, ordered: list[Demand], dead: int) -> Restart:
    """The best of several orders, and of those that follow from what was left out."""
    choices = {d.key: (feasible(fleet, d) & ~dead).bit_count() for d in ordered}
    attempts: list[tuple[list[Demand], Pick]] = [
        (ordered, Question.least_free),
        (sorted(ordered, key=lambda d: -d.memory), Question.least_free),
        (sorted(ordered, key=lambda d: -d.cpu), Question.least_free),
        (sorted(ordered, key=lambda d: choices[d.key]), Question.least_free),
        (ordered, Question.most_free),
        (ordered, Question.first),
    ]
    best: Restart | None = None
    for order, pick in attempts:
        found = _attempt(fleet, order, dead, pick)
        if best is None or _worth(found) < _worth(best):
            best = found
        if not found.left:
            return found
    assert best is not None
    order = ordered
    for _ in range(REPAIRS):
        first = {demand.key for demand in best.left}
        order = sorted(order, key=lambda demand: demand.key not in first)
        found = _attempt(fleet, order, dead, Question.least_free)
        if _worth(found) >= _worth(best):
            break
        best = found
    return best


def _worth(found: Restart) -> tuple[int, int]:
    return len(found.left), sum(demand.memory for demand in found.left)


def _attempt(fleet: Fleet, order: Iterable[Demand], dead: int, pick: Pick) -> Restart:
    homes: dict[int, list[Demand]] = {}
    left = []
    try:
        for demand in order:
            target = pick(Question(fleet, demand, without=dead))
            if target is None:
                left.append(demand)
                continue
            _hold(fleet, demand, target)
            homes.setdefault(target, []).append(demand)
    finally:
        for target, demands in homes.items():
            for demand in demands:
                fleet.remove(demand.key, fleet.hosts[target].key)
    return Restart({target: tuple(demands) for target, demands in homes.items()}, tuple(left))


def _hold(fleet: Fleet, demand: Demand, target: int) -> None:
    nodes = (fleet.nodes[target].place(demand) or ()) if demand.numa else ()
    fleet.add(Claim(demand=demand, host=fleet.hosts[target].key, numa_nodes=nodes))


def _size(fleet: Fleet, demand: Demand) -> float:
    return sum(amount / fleet.columns[row].largest for row, amount in fleet.needs(demand))
