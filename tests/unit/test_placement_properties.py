"""What holds for every cluster and every algorithm; the rules stand a second time in `placement_plain`."""

import random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from placement_cases import ANY, CASES, LAST, NEW, SEEDS, clusters, preferring
from placement_plain import allowed, candidates, cost_at, faults, free_on, takers

from hpgreedy.model import Claim, Cluster, HostState
from hpgreedy.placement import (
    ALGORITHMS,
    Fleet,
    Limits,
    NotPlaced,
    Placed,
    Placer,
    Reason,
    carried_out,
    check,
    decide,
    feasible,
)
from hpgreedy.placement.question import Question


def of_mask(fleet, mask):
    return [host.key for n, host in fleet.standing_hosts() if mask >> n & 1]


@settings(max_examples=300, deadline=None)
@given(clusters(), NEW)
def test_the_index_answers_as_a_plain_scan_does(cluster, demand):
    fleet = Fleet(cluster)
    direct = takers(cluster, demand)
    assert [host.key for n, host in fleet.standing_hosts() if check(fleet, demand, n) is None] == direct
    found = of_mask(fleet, feasible(fleet, demand))
    if demand.numa:
        found = [key for key in found if fleet.nodes[fleet.position[key]].place(demand) is not None]
    assert found == direct
    asked = [fleet.hosts[n].key for n in Question(fleet, demand).candidates]
    assert asked == candidates(cluster, demand)


@settings(max_examples=200, deadline=None)
@given(CASES, ANY, SEEDS, LAST)
def test_what_is_placed_fits_at_every_step(case, algorithm, seed, last):
    cluster, demand = case
    limits = Limits()
    answer = Placer(Fleet(cluster), limits).decide(demand, algorithm, seed=seed, last=last)
    if isinstance(answer, NotPlaced):
        return
    assert len(answer.moves) <= (limits.depth if ALGORITHMS[algorithm].makes_room else 0)
    now = cluster
    for move in answer.moves:
        claim = next(c for c in now.claims if (c.demand.key, c.host) == (move.vm, move.source))
        assert claim.movable
        assert not claim.demand.pinned
        assert move.memory == claim.demand.memory
        assert allowed(now, move.target, claim.demand.unbound())
        arrived = Claim(demand=claim.demand, host=move.target, numa_nodes=move.numa_nodes)
        now = now.without(move.vm, move.source).with_claim(arrived)
    assert allowed(now, answer.host, demand)
    now = now.with_claim(Claim(demand=demand, host=answer.host, numa_nodes=answer.numa_nodes))
    assert faults(now) <= faults(cluster)
    end = carried_out(cluster, demand, answer)
    assert set(map(msgspec.json.encode, end.claims)) == set(map(msgspec.json.encode, now.claims))


@settings(max_examples=100, deadline=None)
@given(clusters(), st.lists(st.tuples(NEW, ANY), max_size=8), SEEDS)
def test_whatever_comes_nothing_is_overfilled_and_no_hard_rule_is_broken(cluster, arrivals, seed):
    placer, last = Placer(Fleet(cluster)), None
    before = faults(cluster)
    for n, (demand, algorithm) in enumerate(arrivals):
        named = msgspec.structs.replace(demand, key=f"n{n}")
        answer = placer.place(named, algorithm, seed=seed, last=last)
        if isinstance(answer, Placed):
            last = answer.host
        after = faults(placer.fleet.cluster())
        assert after <= before
        before = after


@settings(max_examples=200, deadline=None)
@given(clusters(), NEW, ANY, SEEDS, LAST)
def test_what_is_refused_fits_nowhere_and_what_is_placed_breaks_the_least(
    cluster, demand, algorithm, seed, last
):
    answer = decide(cluster, demand, algorithm, seed=seed, last=last)
    direct = takers(cluster, demand)
    if isinstance(answer, NotPlaced) or answer.moves:
        assert not direct
    else:
        costs = {key: cost_at(cluster, demand, key) for key in direct}
        assert costs[answer.host] == min(costs.values())
        others = {key: cost for key, cost in costs.items() if key != answer.host}
        if others:
            assert answer.runner_up is not None
            assert others[answer.runner_up] == min(others.values())
        else:
            assert answer.runner_up is None


@settings(max_examples=150, deadline=None)
@given(preferring(), ANY, SEEDS, LAST)
def test_soft_rules_leave_the_hosts_that_break_the_least(case, algorithm, seed, last):
    cluster, demand = case
    least = candidates(cluster, demand)
    fleet = Fleet(cluster)
    assert [fleet.hosts[n].key for n in Question(fleet, demand).candidates] == least
    answer = Placer(fleet).decide(demand, algorithm, seed=seed, last=last)
    assert isinstance(answer, Placed)
    assert answer.host in least


@settings(max_examples=150, deadline=None)
@given(clusters(), NEW)
def test_a_rejection_tells_the_truth(cluster, demand):
    fleet = Fleet(cluster)
    for n, host in fleet.standing_hosts():
        rejection = check(fleet, demand, n)
        if rejection is None:
            continue
        assert rejection.host == host.key
        free = {name: max(amount, 0) for name, amount in free_on(cluster, host.key).items()}
        if rejection.reason is Reason.CPU:
            assert rejection.have == free["cpu"] < demand.cpu == rejection.need
        elif rejection.reason is Reason.MEMORY:
            assert rejection.have == free["memory"] < demand.memory == rejection.need
        elif rejection.reason is Reason.STATE:
            assert host.state is not HostState.UP
        elif rejection.reason is Reason.LABEL:
            assert any(host.labels.get(k) != v for k, v in demand.host_labels.items())
        assert "\n" not in rejection.sentence()


@settings(max_examples=100, deadline=None)
@given(CASES, ANY, SEEDS, LAST, st.randoms(use_true_random=False))
def test_the_answer_depends_on_nothing_but_the_values(case, algorithm, seed, last, chance: random.Random):
    cluster, demand = case
    given_too = {"seed": seed, "last": last}
    first = decide(cluster, demand, algorithm, **given_too)
    again = Cluster(dict(cluster.hosts), tuple(cluster.claims))
    assert decide(again, demand, algorithm, **given_too) == first
    shuffled = list(cluster.claims)
    chance.shuffle(shuffled)
    other = decide(Cluster(cluster.hosts, tuple(shuffled)), demand, algorithm, **given_too)
    assert type(other) is type(first)
    if isinstance(first, Placed) and isinstance(other, Placed):
        assert sum(m.memory for m in other.moves) == sum(m.memory for m in first.moves)
        if not first.moves:
            assert (other.host, other.numa_nodes) == (first.host, first.numa_nodes)


@settings(max_examples=100, deadline=None)
@given(clusters(), NEW, ANY, SEEDS, LAST)
def test_deciding_changes_nothing_and_explaining_changes_no_decision(cluster, demand, algorithm, seed, last):
    placer = Placer(Fleet(cluster))
    before = placer.fleet.cluster()
    explained = placer.decide(demand, algorithm, seed=seed, last=last)
    plain = placer.decide(demand, algorithm, seed=seed, last=last, explained=False)
    assert placer.fleet.cluster() == before
    if isinstance(explained, Placed):
        assert isinstance(plain, Placed)
        assert (plain.host, plain.numa_nodes, plain.moves) == (
            explained.host,
            explained.numa_nodes,
            explained.moves,
        )
        assert explained.why
    else:
        assert not isinstance(plain, Placed)
