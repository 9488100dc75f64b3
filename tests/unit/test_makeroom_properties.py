"""What making room promises, against a search that tries every chain in the plainest way."""

import itertools
import random
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from placement_cases import CASES, pick
from placement_plain import allowed, free_nodes, has_room, share_of

from hpgreedy.model import Claim, Cluster, Demand, Host, HostState, Node, Rule, RuleKind
from hpgreedy.placement import Fleet, Limits
from hpgreedy.placement.makeroom import pairs, search

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
    """(memory, moves, number of the host) of the cheapest chain, by trying all; None when there is none."""
    reached = {state(cluster): (0, cluster)}
    best = None
    for moves in range(depth + 1):
        for memory, now in reached.values():
            takes = [n for n, key in enumerate(now.hosts) if allowed(now, key, demand)]
            if takes:
                cost = (memory, moves, takes[0])
                best = min(best or cost, cost)
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


def cost_of(cluster, plan):
    memory = sum(move.memory for move in plan.moves)
    return memory, len(plan.moves), list(cluster.hosts).index(plan.host)


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


def draw_vm(draw, key, memory):
    rule = Rule(
        kind=draw(st.sampled_from([RuleKind.APART, RuleKind.APART, RuleKind.TOGETHER])),
        group=draw(st.sampled_from("gh")),
        scope=draw(st.sampled_from(["host", "host", "rack"])),
    )
    return Demand(
        key=key,
        cpu=draw(st.integers(1, 3)),
        memory=memory,
        resources=pick(draw, {}, {"gpu": 1}, odds=9),
        host_labels=pick(draw, {}, {"rack": "a"}, odds=9),
        wanted_host=pick(draw, None, "h0", odds=9),
        pinned=pick(draw, False, True),
        group=draw(st.sampled_from([None, None, "g", "h"])),
        rules=pick(draw, (), (rule,), odds=2),
        numa=pick(draw, 0, 1, 2, odds=2),
    )


@st.composite
def crowded(draw):
    """Hosts of one size with little left, so that much has to give way."""
    hosts = {}
    for n in range(draw(st.integers(2, 4))):
        hosts[f"h{n}"] = Host(
            key=f"h{n}",
            cpu=draw(st.sampled_from([8, 12])),
            memory=10,
            labels=pick(draw, {"rack": "a"}, {"rack": "b"}, {}, odds=1),
            resources=pick(draw, {}, {"gpu": 2}, odds=2),
            numa=pick(draw, (Node(cpu=6, memory=5),) * 2, (), odds=3),
            state=pick(draw, HostState.UP, HostState.DRAINING),
        )
    cluster = Cluster(hosts, ())
    for n in range(draw(st.integers(3, 8))):
        demand = draw_vm(draw, f"v{n}", draw(st.integers(1, 5)))
        for key in draw(st.permutations(list(hosts))):
            if has_room(cluster, key, demand):
                nodes = draw(st.sampled_from(node_choices(cluster, key, demand)))
                claim = Claim(demand=demand, host=key, movable=pick(draw, True, False), numa_nodes=nodes)
                cluster = cluster.with_claim(claim)
                break
    return cluster, draw_vm(draw, "new", draw(st.integers(3, 7)))


HARD = st.one_of(crowded(), CASES)


@settings(max_examples=400, deadline=None)
@given(HARD, st.integers(1, 3))
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
    assert cost_of(cluster, found.plan) == best


@settings(max_examples=100, deadline=None)
@given(HARD, st.integers(2, 3))
def test_too_many_pairs_for_arrays_change_nothing(case, depth):
    cluster, demand = case
    at_once = search(Fleet(cluster), demand, Limits(depth=depth))
    with mock.patch.object(pairs, "MANY", 0):
        one_by_one = search(Fleet(cluster), demand, Limits(depth=depth))
    assert one_by_one.complete
    assert (one_by_one.plan is None) is (at_once.plan is None)
    if one_by_one.plan is not None:
        assert at_once.plan is not None
        assert cost_of(cluster, one_by_one.plan) == cost_of(cluster, at_once.plan)


@settings(max_examples=200, deadline=None)
@given(HARD, st.integers(2, 3), st.integers(0, 60))
def test_a_search_that_is_cut_short_claims_no_more_than_it_has_seen(case, depth, effort):
    cluster, demand = case
    found = search(Fleet(cluster), demand, Limits(depth=depth, effort=effort))
    if found.plan is not None:
        replayed(cluster, demand, found.plan)
    if found.complete:
        cost = None
        if found.plan is not None:
            assert found.depth == depth
            cost = cost_of(cluster, found.plan)
        assert cheapest(cluster, demand, found.depth) == cost


@settings(max_examples=150, deadline=None)
@given(HARD, st.integers(1, 3), st.randoms(use_true_random=False))
def test_it_is_the_same_whatever_the_order_of_arrival(case, depth, chance: random.Random):
    cluster, demand = case
    found = search(Fleet(cluster), demand, Limits(depth=depth))
    claims = list(cluster.claims)
    chance.shuffle(claims)
    assert search(Fleet(Cluster(cluster.hosts, tuple(claims))), demand, Limits(depth=depth)) == found


@settings(max_examples=100, deadline=None)
@given(HARD)
def test_the_fleet_is_as_before(case):
    cluster, demand = case
    fleet = Fleet(cluster)
    before, version = fleet.cluster(), fleet.changes.version
    search(fleet, demand, Limits(depth=3))
    assert list(fleet.cluster().claims) == list(before.claims)
    assert fleet.cluster().hosts == before.hosts
    assert fleet.changes.version == version


class Ticking:
    """A clock that goes on by a second each time it is looked at."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        self.now += 1.0
        return self.now


def full(hosts, vms):
    """Hosts that are full of equal VMs but for one that has room for one of them."""
    claims = [
        Claim(demand=Demand(key=f"v{h}-{n}", cpu=1, memory=2), host=f"h{h}")
        for h in range(hosts)
        for n in range(vms - (h == 0))
    ]
    return Cluster({f"h{n}": Host(key=f"h{n}", cpu=99, memory=2 * vms) for n in range(hosts)}, tuple(claims))


def test_the_time_is_kept():
    demand = Demand(key="new", cpu=1, memory=8)
    clock = Ticking()
    found = search(Fleet(full(20, 6)), demand, Limits(depth=4, seconds=30.0, clock=clock))
    assert clock.now <= 100.0 + 1 + 30 + 2
    assert found.plan is None
    assert found.depth < 4
    patient = search(Fleet(full(20, 6)), demand, Limits(depth=2, seconds=1e6, clock=Ticking()))
    assert patient.complete
    assert patient.depth == 2


def test_no_time_at_all_claims_nothing():
    found = search(Fleet(full(20, 6)), Demand(key="new", cpu=1, memory=8), Limits(effort=0))
    assert (found.plan, found.complete, found.depth) == (None, False, 1)


def test_what_was_found_is_kept_when_the_time_is_up():
    """One large VM is found to leave at once, three small ones instead only after a while."""
    held = [("h0", "big", 4, 20, False), ("h0", "stays", 2, 1, True), ("h1", "other", 4, 1, True)]
    held += [(f"h{h}", f"v{h}-{n}", 1 + n % 2, 1 + n, False) for h in range(2, 6) for n in range(5)]
    claims = [
        Claim(demand=Demand(key=key, cpu=cpu, memory=memory, pinned=pinned), host=host)
        for host, key, cpu, memory, pinned in held
    ]
    cluster = Cluster({f"h{n}": Host(key=f"h{n}", cpu=8, memory=99) for n in range(6)}, tuple(claims))
    demand = Demand(key="new", cpu=6, memory=1)
    found = [search(Fleet(cluster), demand, Limits(depth=3, effort=effort)) for effort in range(100)]
    costs = [(f.complete, sum(m.memory for m in f.plan.moves)) for f in found if f.plan is not None]
    assert costs == sorted(costs, key=lambda cost: (-cost[1], cost[0]))
    assert costs[0] == (False, 20)
    assert costs[-1] == (True, 7)
