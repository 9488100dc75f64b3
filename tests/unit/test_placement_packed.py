"""packed: a batch as a whole; rules kept, never worse than one algorithm alone, and the same for a seed."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from placement_cases import clusters, draw_demand

from hpgreedy.model import Claim, Cluster, Demand, Host, Rule, RuleKind
from hpgreedy.placement import ALGORITHMS, Fleet, Limits, NotPlaced, Placed, Placer, place_all
from hpgreedy.placement.constraints import check

LIMITS = Limits(packing_seconds=math.inf, packing_rounds=300)


@st.composite
def batches(draw):
    return [draw_demand(draw, f"new{n}", 6) for n in range(draw(st.integers(0, 6)))]


def outcome(cluster, batch):
    """VMs without a host, and hosts newly in use."""
    before = {claim.host for claim in cluster.claims}
    placed = [answer for answer in batch.answers if isinstance(answer, Placed)]
    return len(batch.answers) - len(placed), len({answer.host for answer in placed} - before)


@settings(max_examples=60, deadline=None)
@given(clusters(), batches())
def test_it_is_never_worse_than_one_algorithm_alone(cluster, demands):
    batch = place_all(cluster, demands, "packed", limits=LIMITS)
    unplaced, opened = outcome(cluster, batch)
    for algorithm, each in ALGORITHMS.items():
        if not each.batch and not each.waits and not each.makes_room:
            assert (unplaced, opened) <= outcome(cluster, place_all(cluster, demands, algorithm))


@settings(max_examples=60, deadline=None)
@given(clusters(), batches(), st.integers(0, 9))
def test_each_vm_is_taken_when_its_turn_comes(cluster, demands, seed):
    placer = Placer(Fleet(cluster), LIMITS)
    order = placer.turns(demands, "packed", seed=seed)
    assert sorted(order) == list(range(len(demands)))
    assert placer.fleet.cluster() == Fleet(cluster).cluster()
    for number in order:
        answer = placer.decide(demands[number], "packed", seed=seed)
        if isinstance(answer, Placed) and not answer.moves:
            assert check(placer.fleet, demands[number], placer.fleet.position[answer.host]) is None
            placer.commit(demands[number], answer)
        elif isinstance(answer, Placed):
            placer.commit(demands[number], answer)
    again = place_all(cluster, demands, "packed", seed=seed, limits=LIMITS)
    assert again == place_all(cluster, demands, "packed", seed=seed, limits=LIMITS)


def fours(*memory):
    return [Demand(key=f"v{n}", cpu=1, memory=each) for n, each in enumerate(memory)]


def hosts(count, memory=10):
    return Cluster({f"h{n}": Host(key=f"h{n}", cpu=99, memory=memory) for n in range(count)})


def test_it_sees_what_those_that_look_at_one_after_the_other_do_not():
    demands = fours(3, 3, 3, 3, 7, 7, 7, 7)
    online = outcome(hosts(8), place_all(hosts(8), demands, "best_fit"))
    assert online == (0, 5)
    assert outcome(hosts(8), place_all(hosts(8), demands, "packed", limits=LIMITS)) == (0, 4)


def test_hosts_in_use_are_filled_before_others():
    used = Cluster(hosts(3).hosts, (Claim(demand=Demand(key="old", cpu=1, memory=4), host="h2"),))
    batch = place_all(used, fours(3, 3), "packed", limits=LIMITS)
    assert [answer.host for answer in batch.answers if isinstance(answer, Placed)] == ["h2", "h2"]


def test_rules_between_the_vms_of_a_batch_are_kept():
    apart = (Rule(kind=RuleKind.APART, group="db"),)
    group = [Demand(key=f"db{n}", cpu=1, memory=2, group="db", rules=apart) for n in range(3)]
    batch = place_all(hosts(4), [*group, *fours(4, 4, 4)], "packed", limits=LIMITS)
    places = [answer.host for answer in batch.answers if isinstance(answer, Placed)]
    assert len(set(places[:3])) == 3
    assert len(set(places)) == 3


def test_a_soft_rule_takes_no_place_that_another_vm_needs():
    two = {"h1": Host(key="h1", cpu=4, memory=9), "h2": Host(key="h2", cpu=2, memory=9)}
    soft = (Rule(kind=RuleKind.NEAR, hosts=frozenset({"h1"}), hard=False),)
    demands = [Demand(key="x", cpu=4, memory=1), Demand(key="s", cpu=2, memory=1, rules=soft)]
    placer = Placer(Fleet(Cluster(two)), LIMITS)
    for number in placer.turns(demands, "packed"):
        answer = placer.decide(demands[number], "packed")
        assert isinstance(answer, Placed)
        assert not answer.moves
        assert answer.host == ("h1", "h2")[number]
        placer.reserve(demands[number], answer)


def test_it_says_that_it_looked_at_all_of_them():
    answers = place_all(hosts(3), fours(5, 5, 6), "packed", limits=LIMITS).answers
    assert all("with the others of its request" in answer.why for answer in answers)


def test_what_fits_nowhere_is_refused_and_the_rest_placed():
    batch = place_all(hosts(1), fours(11, 6), "packed", limits=LIMITS)
    assert isinstance(batch.answers[0], NotPlaced)
    assert isinstance(batch.answers[1], Placed)


def test_it_makes_room_for_what_is_left_over():
    full = Cluster(
        hosts(2).hosts,
        (
            Claim(demand=Demand(key="a", cpu=1, memory=4), host="h0"),
            Claim(demand=Demand(key="b", cpu=1, memory=2), host="h0"),
            Claim(demand=Demand(key="c", cpu=1, memory=8), host="h1"),
        ),
    )
    (answer,) = place_all(full, [Demand(key="new", cpu=1, memory=6)], "packed", limits=LIMITS).answers
    assert isinstance(answer, Placed)
    assert [move.vm for move in answer.moves] == ["b"]


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_the_clock_ends_the_search(seconds):
    ticks = iter(range(10**9))
    limits = Limits(packing_seconds=seconds, packing_rounds=10**9, clock=lambda: float(next(ticks)))
    demands = fours(*([3, 4, 5, 6, 7] * 8))
    assert outcome(hosts(40), place_all(hosts(40), demands, "packed", limits=limits))[0] == 0
