"""What holds for every cluster and every algorithm; the rules stand a second time in `placement_cases`."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from placement_cases import ANY, LAST, NEW, SEEDS, allowed, clusters, held_on, takers, tight

from hpgreedy.model import Cluster, Host, HostState
from hpgreedy.placement import NotPlaced, Placed, Reason, decide


def single_moves(cluster, demand):
    """All (memory, vm, source, target) that make room, by trying everything."""
    found = set()
    for claim in cluster.claims:
        if not claim.movable or claim.demand.pinned:
            continue
        source = cluster.hosts[claim.host]
        if not allowed(source, held_on(cluster, source.key, {claim.demand.key}), demand):
            continue
        for target in cluster.hosts.values():
            if target.key == source.key:
                continue
            if allowed(target, held_on(cluster, target.key), claim.demand, bound=False):
                found.add((claim.demand.memory, claim.demand.key, source.key, target.key))
    return found


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.tuples(clusters(), NEW), tight()), ANY, SEEDS, LAST)
def test_what_is_placed_fits_at_every_step(case, algorithm, seed, last):
    cluster, demand = case
    answer = decide(cluster, demand, algorithm, seed=seed, last=last)
    if isinstance(answer, NotPlaced):
        return
    left = set()
    for move in answer.moves:
        claim = next(c for c in cluster.claims if (c.demand.key, c.host) == (move.vm, move.source))
        assert claim.movable
        assert not claim.demand.pinned
        assert move.source != move.target
        assert move.memory == claim.demand.memory
        # Before the new VM starts, and with both ends held.
        assert allowed(cluster.hosts[move.target], held_on(cluster, move.target), claim.demand, bound=False)
        left.add(move.vm)
    arrived = [
        c.demand
        for c in cluster.claims
        for m in answer.moves
        if c.demand.key == m.vm and m.target == answer.host
    ]
    host = cluster.hosts[answer.host]
    assert allowed(host, held_on(cluster, answer.host, left) + arrived, demand)
    assert len(answer.moves) <= (1 if algorithm == "greedy" else 0)


@settings(max_examples=200, deadline=None)
@given(clusters(), NEW, ANY, SEEDS, LAST)
def test_what_is_refused_fits_nowhere(cluster, demand, algorithm, seed, last):
    answer = decide(cluster, demand, algorithm, seed=seed, last=last)
    direct = takers(cluster, demand)
    if isinstance(answer, Placed):
        if answer.moves:
            assert not direct
        else:
            assert answer.host in direct
            assert answer.runner_up in direct or (answer.runner_up is None and len(direct) == 1)
        assert {r.host for r in answer.rejections} == set(cluster.hosts) - set(direct)
    else:
        assert not direct
        assert [r.host for r in answer.rejections] == list(cluster.hosts)


@settings(max_examples=250, deadline=None)
@given(st.one_of(st.tuples(clusters(), NEW), tight()))
def test_greedy_refuses_only_when_no_move_helps_and_else_takes_the_cheapest(case):
    cluster, demand = case
    answer = decide(cluster, demand, "greedy")
    moves = single_moves(cluster, demand)
    if isinstance(answer, NotPlaced):
        assert not moves
    elif answer.moves:
        (move,) = answer.moves
        assert (move.memory, move.vm, move.source, move.target) in moves
        assert move.memory == min(moves)[0]
        assert answer.host == move.source


@settings(max_examples=100, deadline=None)
@given(clusters(), NEW, ANY)
def test_a_rejection_tells_the_truth(cluster, demand, algorithm):
    for rejection in decide(cluster, demand, algorithm).rejections:
        host, held = cluster.hosts[rejection.host], held_on(cluster, rejection.host)
        if rejection.reason is Reason.CPU:
            assert rejection.have == int(host.cpu_capacity) - sum(d.cpu for d in held) < demand.cpu
        elif rejection.reason is Reason.MEMORY:
            assert rejection.have == host.memory - sum(d.memory for d in held) < demand.memory
        elif rejection.reason is Reason.STATE:
            assert host.state is not HostState.UP
        elif rejection.reason is Reason.LABEL:
            assert any(host.labels.get(k) != v for k, v in demand.host_labels.items())
        assert "\n" not in rejection.sentence()


@settings(max_examples=100, deadline=None)
@given(clusters(), NEW)
def test_ever_means_that_an_empty_host_would_do(cluster, demand):
    answer = decide(cluster, demand)
    if isinstance(answer, NotPlaced):
        possible = []
        for host in cluster.hosts.values():
            bare = Host(
                key=host.key, cpu=host.cpu, memory=host.memory, cpu_overcommit=host.cpu_overcommit,
                labels=host.labels, resources=host.resources, networks=host.networks, bridges=host.bridges,
            )  # fmt: skip
            possible.append(allowed(bare, [], demand))
        assert answer.ever == any(possible)


@settings(max_examples=100, deadline=None)
@given(clusters(), NEW, ANY, SEEDS, LAST, st.randoms(use_true_random=False))
def test_the_answer_depends_on_nothing_but_the_values(
    cluster, demand, algorithm, seed, last, chance: random.Random
):
    again = Cluster(dict(cluster.hosts), tuple(cluster.claims))
    given_too = {"seed": seed, "last": last}
    assert decide(again, demand, algorithm, **given_too) == decide(cluster, demand, algorithm, **given_too)
    shuffled = list(cluster.claims)
    chance.shuffle(shuffled)
    other = decide(Cluster(cluster.hosts, tuple(shuffled)), demand, algorithm)
    first = decide(cluster, demand, algorithm)
    assert type(other) is type(first)
    if isinstance(first, Placed) and isinstance(other, Placed):
        assert sum(m.memory for m in other.moves) == sum(m.memory for m in first.moves)
