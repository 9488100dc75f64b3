"""Which NUMA nodes of one host the VMs that come to it in turn are given, so that all of them fit."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from itertools import combinations

import msgspec

from hpgreedy.model import Claim, Demand
from hpgreedy.placement.fleet.numa import Nodes


class Comes(msgspec.Struct, frozen=True):
    """The VM of a number arrives."""

    vm: int
    demand: Demand


class Leaves(msgspec.Struct, frozen=True):
    """It leaves the nodes that it holds since before the first event, or those given to it by one."""

    vm: int
    demand: Demand
    nodes: tuple[int, ...]


Event = Comes | Leaves


def assign(start: Nodes, events: list[Event]) -> dict[int, tuple[int, ...]] | None:
    """The nodes for each arrival, by the event's place in the list; None when they cannot all fit.

    What each arrival would be given if it came alone is tried first.
    """
    given: dict[int, tuple[int, ...]] = {}
    return given if _assigned(start, events, 0, {}, given) else None


def _assigned(
    now: Nodes,
    events: list[Event],
    number: int,
    holds: dict[int, tuple[int, ...]],
    given: dict[int, tuple[int, ...]],
) -> bool:
    if number == len(events):
        return True
    event = events[number]
    if isinstance(event, Leaves):
        nodes = holds.get(event.vm, event.nodes)
        return _assigned(_changed(now, event.demand, nodes, 1), events, number + 1, holds, given)
    for nodes in _choices(now, event.demand):
        given[number] = nodes
        after = _changed(now, event.demand, nodes, -1)
        if _assigned(after, events, number + 1, {**holds, event.vm: nodes}, given):
            return True
    return False


def _choices(now: Nodes, demand: Demand) -> Iterator[tuple[int, ...]]:
    first = now.place(demand)
    if first is None:
        return
    yield first
    cpu, memory = demand.numa_share
    fitting = [n for n in range(len(now.cpu)) if now.cpu[n] >= cpu and now.memory[n] >= memory]
    yield from (nodes for nodes in combinations(fitting, demand.numa) if nodes != first)


def _changed(now: Nodes, demand: Demand, nodes: tuple[int, ...], sign: int) -> Nodes:
    after = copy(now)
    after.cpu, after.memory = list(now.cpu), list(now.memory)
    after.hold(Claim(demand=demand, host="", numa_nodes=nodes), sign)
    return after
