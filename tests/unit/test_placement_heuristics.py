"""Each heuristic's own property against its definition in the plainest way, and examples worked by hand."""

import collections

import pytest
from hypothesis import given, settings
from placement_cases import LAST, NEW, SEEDS, clusters, held_on, takers

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


def resources_of(cluster):
    return sorted(
        {name for each in cluster.hosts.values() for name, count in each.resources.items() if count}
    )


def largest(cluster, name):
    return max(each.resources.get(name, 0) for each in cluster.hosts.values())


def vectors(cluster, demand, key):
    """What is needed and what is free, each as shares of the largest host of the cluster."""
    every = cluster.hosts.values()
    offers, held = cluster.hosts[key], held_on(cluster, key)
    most_cpu, most_memory = max(h.cpu_capacity for h in every), max(h.memory_capacity for h in every)
    need = [demand.cpu / most_cpu, demand.memory / most_memory]
    free = [
        (offers.cpu_capacity - sum(d.cpu for d in held)) / most_cpu,
        (offers.memory_capacity - sum(d.memory for d in held)) / most_memory,
    ]
    for name in resources_of(cluster):
        most = largest(cluster, name)
        need.append(demand.resources.get(name, 0) / most)
        free.append((offers.resources.get(name, 0) - sum(d.resources.get(name, 0) for d in held)) / most)
    return need, free


def distance(cluster, demand, key):
    need, free = vectors(cluster, demand, key)
    return sum((f - n) ** 2 for n, f in zip(need, free, strict=True))


def alignment(cluster, demand, key):
    need, free = vectors(cluster, demand, key)
    length = sum(f * f for f in free)
    return sum(n * f for n, f in zip(need, free, strict=True)) / length if length else 1.0


def remainder(cluster, demand, key):
    need, free = vectors(cluster, demand, key)
    return sum(f - n for n, f in zip(need, free, strict=True))


def fullness(cluster, demand, key):
    offers, held = cluster.hosts[key], [*held_on(cluster, key), demand]
    shares = [sum(d.cpu for d in held) / offers.cpu_capacity, sum(d.memory for d in held) / offers.memory]
    shares += [
        sum(d.resources.get(name, 0) for d in held) / count
        for name, count in offers.resources.items()
        if count
    ]
    return max(shares)


RULES = {
    "worst_fit": lambda *case: -remainder(*case),
    "norm": distance,
    "dot_product": lambda *case: -alignment(*case),
    "weight_balanced": lambda *case: abs(fullness(*case) - 0.75),
}


@pytest.mark.parametrize("algorithm", sorted(RULES))
@settings(max_examples=150, deadline=None)
@given(clusters(), NEW)
def test_no_host_scores_better_and_of_equals_the_first_is_taken(algorithm, cluster, demand):
    scores = {key: round(RULES[algorithm](cluster, demand, key), 7) for key in takers(cluster, demand)}
    answer = decide(cluster, demand, algorithm)
    if not scores:
        assert not isinstance(answer, Placed)
        return
    assert isinstance(answer, Placed)
    assert answer.host == min(scores, key=lambda key: scores[key])
    others = {key: score for key, score in scores.items() if key != answer.host}
    assert answer.runner_up == (min(others, key=lambda key: others[key]) if others else None)


@settings(max_examples=150, deadline=None)
@given(clusters(), NEW, LAST)
def test_next_fit_goes_on_from_the_host_used_last(cluster, demand, last):
    hosts, direct = list(cluster.hosts), takers(cluster, demand)
    at = hosts.index(last) + 1 if last in hosts else 0
    circle = [key for key in hosts[at:] + hosts[:at] if key in direct]
    assert chosen(cluster, demand, "next_fit", last=last) == (circle[0] if circle else None)


def test_next_fit_goes_round():
    hosts, last, seen = cluster([host("b"), host("a"), host("c", memory=1)]), None, []
    for n in range(5):
        last = chosen(hosts, vm(memory=2 if n == 2 else 1), "next_fit", last=last)
        seen.append(last)
    assert seen == ["b", "a", "b", "a", "c"]


@settings(max_examples=150, deadline=None)
@given(clusters(), NEW, SEEDS)
def test_epsilon_greedy_takes_a_host_that_has_room_and_says_which_way_it_chose(cluster, demand, seed):
    answer = decide(cluster, demand, "epsilon_greedy", seed=seed)
    if not isinstance(answer, Placed):
        return
    assert answer.host in takers(cluster, demand)
    if "at random" not in answer.why:
        assert answer.host == chosen(cluster, demand, "best_fit")


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
