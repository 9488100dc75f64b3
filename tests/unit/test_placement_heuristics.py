"""Each heuristic's own property against its definition in the plainest way, and examples worked by hand."""

import collections
import random

import pytest
from hypothesis import given, settings
from placement_cases import LAST, NEW, SEEDS, clusters
from placement_plain import candidates, free_on, needed, offered, takers

from hpgreedy.model import Claim, Cluster, Demand, Host
from hpgreedy.placement import Placed, decide


def host(key, cpu=10, memory=10, **more):
    return Host(key=key, cpu=cpu, memory=memory, **more)


def vm(key="new", cpu=1, memory=1, **more):
    return Demand(key=key, cpu=cpu, memory=memory, **more)


def cluster(hosts, *held):
    claims = (Claim(demand=vm(f"v{n}", cpu, memory), host=on) for n, (on, cpu, memory) in enumerate(held))
    return Cluster({each.key: each for each in hosts}, tuple(claims))


def chosen(cluster, demand, algorithm, **more):
    answer = decide(cluster, demand, algorithm, **more)
    return answer.host if isinstance(answer, Placed) else None


def scales(cluster):
    """The largest amount that any host may give out, by name; 1 for what nobody offers."""
    found = collections.defaultdict(lambda: 1)
    for each in cluster.hosts.values():
        for name, amount in offered(each).items():
            found[name] = max(found[name], amount)
    return found


def vectors(cluster, demand, key):
    """What is needed and what is free, each as shares of the largest host of the cluster."""
    scale, need, free = scales(cluster), needed(demand), free_on(cluster, key)
    names = ["cpu", "memory", *sorted(set(scale) - {"cpu", "memory"})]
    return (
        [need.get(name, 0) / scale[name] for name in names],
        [max(free.get(name, 0), 0) / scale[name] for name in names],
    )


def left_before(cluster, demand, key):
    """What is free, in whole 65,536ths of the largest host."""
    scale = scales(cluster)
    return sum(max(amount, 0) * 65536 // scale[name] for name, amount in free_on(cluster, key).items())


def distance(cluster, demand, key):
    need, free = vectors(cluster, demand, key)
    return sum((f - n) ** 2 for n, f in zip(need, free, strict=True))


def alignment(cluster, demand, key):
    need, free = vectors(cluster, demand, key)
    length = sum(f * f for f in free)
    return sum(n * f for n, f in zip(need, free, strict=True)) / length if length else 1.0


def fullness(cluster, demand, key):
    whole, free, need = offered(cluster.hosts[key]), free_on(cluster, key), needed(demand)
    return max(
        (amount - max(free[name], 0) + need.get(name, 0)) / amount if amount else 0.0
        for name, amount in whole.items()
    )


RULES = {
    "best_fit": left_before,
    "worst_fit": lambda *case: -left_before(*case),
    "first_fit": lambda *case: 0,
    "norm": distance,
    "dot_product": lambda *case: -alignment(*case),
    "weight_balanced": lambda *case: abs(fullness(*case) - 0.75),
}


def by_rule(algorithm, cluster, demand, keys):
    """The host with the least score, the first of equals; None without hosts."""
    scores = {key: round(RULES[algorithm](cluster, demand, key), 7) for key in keys}
    return min(scores, key=lambda key: scores[key]) if scores else None


@pytest.mark.parametrize("algorithm", sorted(RULES))
@settings(max_examples=120, deadline=None)
@given(clusters(), NEW)
def test_no_host_scores_better_and_of_equals_the_first_is_taken(algorithm, cluster, demand):
    best = candidates(cluster, demand)
    expected = by_rule(algorithm, cluster, demand, best)
    answer = decide(cluster, demand, algorithm)
    if expected is None:
        assert not isinstance(answer, Placed)
        return
    assert isinstance(answer, Placed)
    assert answer.host == expected
    if len(best) > 1:
        others = [key for key in best if key != answer.host]
        assert answer.runner_up == by_rule(algorithm, cluster, demand, others)


@settings(max_examples=120, deadline=None)
@given(clusters(), NEW)
def test_greedy_is_best_fit_while_a_host_takes_the_vm(cluster, demand):
    if takers(cluster, demand):
        assert chosen(cluster, demand, "greedy") == chosen(cluster, demand, "best_fit")


@settings(max_examples=150, deadline=None)
@given(clusters(), NEW, LAST)
def test_next_fit_goes_on_from_the_host_used_last(cluster, demand, last):
    hosts, direct = list(cluster.hosts), candidates(cluster, demand)
    at = hosts.index(last) + 1 if last in hosts else 0
    circle = [key for key in hosts[at:] + hosts[:at] if key in direct]
    assert chosen(cluster, demand, "next_fit", last=last) == (circle[0] if circle else None)


@settings(max_examples=150, deadline=None)
@given(clusters(), NEW, SEEDS)
def test_epsilon_greedy_draws_from_the_seed_and_the_vms_id(cluster, demand, seed):
    among, chance = candidates(cluster, demand), random.Random(f"{seed}:{demand.key}")
    drawn = chance.random() < 0.7
    expected = None
    if among:
        expected = (
            among[chance.randrange(len(among))] if drawn else by_rule("best_fit", cluster, demand, among)
        )
    answer = decide(cluster, demand, "epsilon_greedy", seed=seed)
    assert (answer.host if isinstance(answer, Placed) else None) == expected
    if isinstance(answer, Placed):
        assert ("at random" in answer.why) is drawn


def test_next_fit_goes_round():
    hosts, last, seen = cluster([host("b"), host("a"), host("c", memory=1)]), None, []
    for n in range(5):
        last = chosen(hosts, vm(memory=2 if n == 2 else 1), "next_fit", last=last)
        seen.append(last)
    assert seen == ["b", "a", "b", "a", "c"]


def test_epsilon_greedy_draws_in_seven_of_ten_cases_and_evenly():
    hosts = cluster([host(f"h{n}") for n in range(4)], ("h2", 5, 5))
    drawn: collections.Counter[str] = collections.Counter()
    best = 0
    for seed in range(2000):
        answer = decide(hosts, vm(), "epsilon_greedy", seed=seed)
        assert isinstance(answer, Placed)
        if "at random" in answer.why:
            drawn[answer.host] += 1
        else:
            best += 1
            assert answer.host == "h2"
    assert 500 < best < 700
    assert set(drawn) == set(hosts.hosts)
    assert max(drawn.values()) < 1.3 * min(drawn.values())


def test_vms_of_one_seed_draw_apart_and_the_same_vm_draws_the_same_again():
    hosts = cluster([host(f"h{n}", cpu=99, memory=99) for n in range(5)])
    draws = [chosen(hosts, vm(f"vm{n}"), "epsilon_greedy", seed=7) for n in range(20)]
    assert len(set(draws)) > 2
    assert draws == [chosen(hosts, vm(f"vm{n}"), "epsilon_greedy", seed=7) for n in range(20)]


def test_worst_fit_spreads():
    assert chosen(cluster([host("a"), host("b")], ("a", 1, 1)), vm(), "worst_fit") == "b"


def test_weight_balanced_looks_at_the_most_used_resource():
    # After it a is 80 % full by cpu, b 60 % by memory, c 70 % by memory.
    hosts = cluster([host("a"), host("b"), host("c")], ("a", 7, 1), ("b", 1, 5), ("c", 2, 6))
    answer = decide(hosts, vm(), "weight_balanced")
    assert isinstance(answer, Placed)
    assert (answer.host, answer.runner_up) == ("a", "c")
    assert "80% full" in answer.why


@pytest.mark.parametrize("algorithm", ["norm", "dot_product"])
def test_vector_packing_puts_a_vm_where_the_room_has_its_shape(algorithm):
    # Both have 10 units free in all; only b's room is mostly memory, as the VM is.
    hosts = cluster([host("a"), host("b")], ("a", 2, 8), ("b", 8, 2))
    assert chosen(hosts, vm(cpu=1, memory=2), algorithm) == "b"


@pytest.mark.parametrize("algorithm", ["norm", "dot_product"])
def test_vector_packing_leaves_an_empty_host_empty_while_a_used_one_fits(algorithm):
    assert chosen(cluster([host("a"), host("b")], ("b", 4, 4)), vm(cpu=2, memory=2), algorithm) == "b"


def test_a_full_host_takes_what_needs_nothing():
    hosts = cluster([host("a", cpu=1, memory=1)], ("a", 1, 1))
    for algorithm in ("dot_product", "norm", "weight_balanced"):
        assert chosen(hosts, vm(cpu=0, memory=0), algorithm) == "a"


@pytest.mark.parametrize("algorithm", ["best_fit", "norm", "dot_product"])
def test_what_a_host_holds_beyond_what_it_has_counts_as_nothing_free(algorithm):
    # a has lost the 9 gpus that its VM holds; for the rest it is the fuller one.
    hosts = {each.key: each for each in (host("b", resources={"gpu": 1}), host("a"))}
    held = Claim(demand=vm("v", 1, 1, resources={"gpu": 9}), host="a")
    both = Claim(demand=vm("w", 1, 1, resources={"gpu": 1}), host="b")
    lost = Cluster(hosts, (held, both))
    assert chosen(lost, vm(), algorithm) == "b"
    assert chosen(lost.with_claim(Claim(demand=vm("x"), host="a")), vm(), algorithm) == "a"
