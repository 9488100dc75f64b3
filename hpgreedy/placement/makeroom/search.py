"""The search for the cheapest chain of moves that makes room."""

from __future__ import annotations

from collections.abc import Iterator

from hpgreedy.model import Claim, Demand
from hpgreedy.placement.constraints import check
from hpgreedy.placement.decision import CAPACITY, Move
from hpgreedy.placement.fleet import Fleet
from hpgreedy.placement.makeroom.plan import Limits, Plan, Search
from hpgreedy.placement.question import Question
from hpgreedy.placement.words import amount


def search(fleet: Fleet, demand: Demand, limits: Limits) -> Search:
    """The cheapest single move, by the memory to be moved."""
    for claim in sorted(_victims(fleet, demand), key=lambda claim: claim.demand.memory):
        target = Question(fleet, claim.demand.unbound()).least_free()
        if target is None:
            continue
        host, key = fleet.hosts[target].key, claim.demand.key
        move = Move(vm=key, source=claim.host, target=host, memory=claim.demand.memory)
        why = (
            f"no host has room, and moving {key} ({amount(claim.demand.memory)}) "
            f"from {claim.host} to {host} makes room on {claim.host}"
        )
        return Search(plan=Plan(host=claim.host, moves=(move,), why=why), depth=1, complete=True)
    return Search(plan=None, depth=1, complete=True)


def _victims(fleet: Fleet, demand: Demand) -> Iterator[Claim]:
    for position, host in fleet.standing_hosts():
        rejection = check(fleet, demand, position)
        if rejection is None or rejection.reason not in CAPACITY:
            continue
        for claim in list(fleet.claims_on(position)):
            if not claim.movable or claim.demand.pinned or claim.demand.key == demand.key:
                continue
            fleet.remove(claim.demand.key, host.key)
            takes = check(fleet, demand, position) is None
            fleet.add(claim)
            if takes:
                yield claim
