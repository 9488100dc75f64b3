"""What making room promises, against a search that tries every chain in the plainest way."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from placement_cases import CASES
from placement_plain import allowed, free_nodes, share_of

from hpgreedy.model import Claim, HostState
from hpgreedy.placement import Fleet, Limits
from hpgreedy.placement.makeroom import search

LEAVES_FROM = (HostState.UP, HostState.DRAINING)


def node_choices(cluster, key, demand):
    if not demand.numa:
        return [()]
    free, (cpu, memory) = free_nodes(cluster, key), share_of(demand)
    fitting = [n for n in range(len(free)) if free[n][0] >= cpu and free[n][1] >= memory]
    return list(itertools.combinations(fitting, demand.numa))


def may_move(cluster, claim, demand):
    places = [c for c in cluster.claims if c.demand.key == claim.demand.key and c.host in cluster.hosts]
    return (
        claim.host in cluster.hosts
        and cluster.hosts[claim.host].state in LEAVES_FROM
        and claim.movable
        and not claim.demand.pinned
        and claim.demand.key != demand.key
        and len(places) == 1
    )


def everything_after_a_move(cluster, demand):
    """(memory, cluster) after each move that is possible now."""
    for claim in cluster.claims:
        if not may_move(cluster, claim, demand):
            continue
        free_to_go = claim.demand.unbound()
        for target in cluster.hosts:
            if target == claim.host or not allowed(cluster, target, free_to_go):
                continue
            for nodes in node_choices(cluster, target, claim.demand):
                arrived = Claim(demand=claim.demand, host=target, numa_nodes=nodes)
                yield claim.demand.memory, cluster.without(claim.demand.key).with_claim(arrived)


def cheapest(cluster, demand, depth):
    """(memory, moves) of the cheapest chain, by trying all; None when there is none."""
    reached = {state(cluster): (0, cluster)}
    best = None
    for moves in range(depth + 1):
        for memory, now in reached.values():
            if any(allowed(now, key, demand) for key in now.hosts):
                best = min(best or (memory, moves), (memory, moves))
        if moves == depth:
            break
        after = {}
        for memory, now in reached.values():
            for more, then in everything_after_a_move(now, demand):
                cost, key = memory + more, state(then)
                if key not in after or cost < after[key][0]:
                    after[key] = (cost, then)
        reached = after
    return best


def state(cluster):
    return frozenset((c.demand.key, c.host, c.numa_nodes) for c in cluster.claims)


def replayed(cluster, demand, plan):
    """The cluster after the plan; every step is checked when its turn comes."""
    now = cluster
    for move in plan.moves:
        claim = next(c for c in now.claims if (c.demand.key, c.host) == (move.vm, move.source))
        assert may_move(now, claim, demand)
        assert move.source != move.target
        assert move.memory == claim.demand.memory
        assert allowed(now, move.target, claim.demand.unbound())
        assert move.numa_nodes in node_choices(now, move.target, claim.demand)
        arrived = Claim(demand=claim.demand, host=move.target, numa_nodes=move.numa_nodes)
        now = now.without(move.vm).with_claim(arrived)
    assert allowed(now, plan.host, demand)
    assert plan.numa_nodes in node_choices(now, plan.host, demand)
    return now


@settings(max_examples=400, deadline=None)
@given(CASES, st.integers(1, 3))
def test_the_plan_is_the_cheapest_that_there_is_and_a_refusal_is_true(case, depth):
    cluster, demand = case
    found = search(Fleet(cluster), demand, Limits(depth=depth))
    assert found.depth == depth
    assert found.complete
    best = cheapest(cluster, demand, depth)
    if found.plan is None:
        assert best is None
        return
    replayed(cluster, demand, found.plan)
    assert (sum(move.memory for move in found.plan.moves), len(found.plan.moves)) == best
