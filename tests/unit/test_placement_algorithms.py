"""Which host each algorithm takes, and what it says about it."""

import pytest

from hpgreedy.model import Claim, Cluster, Demand, Host, HostState
from hpgreedy.placement import ALGORITHMS, DEFAULT, Move, NotPlaced, Placed, decide, known
from protocol.spec import SpecError


def host(key, cpu=100, memory=10, **more):
    return Host(key=key, cpu=cpu, memory=memory, **more)


def cluster(hosts, *held, movable=True, **vm):
    return Cluster(
        {each.key: each for each in hosts},
        tuple(
            Claim(demand=Demand(key=key, cpu=1, memory=memory, **vm), host=on, movable=movable)
            for key, on, memory in held
        ),
    )


def new(memory, **more):
    return Demand(**{"key": "new", "cpu": 1, "memory": memory, **more})


MOVING = [name for name, each in ALGORITHMS.items() if each.makes_room]
SEED = cluster([host("S1"), host("S2")], ("a", "S1", 4), ("b", "S1", 2), ("c", "S2", 8))


def test_the_default_is_greedy_and_every_algorithm_describes_itself():
    assert DEFAULT == "greedy"
    assert set(ALGORITHMS) >= {
        "best_fit", "dot_product", "epsilon_greedy", "first_fit", "greedy", "next_fit", "norm",
        "weight_balanced", "worst_fit",
    }  # fmt: skip
    assert "greedy" in MOVING
    for name, algorithm in ALGORITHMS.items():
        assert algorithm.name == name
        assert algorithm.summary
        assert algorithm.source


def test_an_unknown_algorithm_is_refused_and_never_becomes_another():
    with pytest.raises(SpecError, match=r"algorithm is 'bset_fit'; known are best_fit, .*, greedy, "):
        known("bset_fit")
    with pytest.raises(SpecError, match="bset_fit"):
        decide(SEED, new(1), "bset_fit")


def test_first_fit_takes_the_first_registered_that_has_room():
    hosts = cluster([host("z", memory=3), host("m"), host("a", memory=5)])
    answer = decide(hosts, new(4), "first_fit")
    assert isinstance(answer, Placed)
    assert (answer.host, answer.runner_up, answer.algorithm) == ("m", "a", "first_fit")


def test_best_fit_leaves_the_least_whatever_the_host_is_worth():
    # 100 of 1000 left is more than 5 of 10, although a smaller share.
    hosts = cluster([host("big", memory=1000), host("small")], ("x", "big", 895))
    answer = decide(hosts, new(5), "best_fit")
    assert isinstance(answer, Placed)
    assert (answer.host, answer.runner_up) == ("small", "big")
    assert "best fit" in answer.why


def test_best_fit_weighs_cpu_and_memory_on_one_scale():
    # after it: h1 has 4/8 cpus and 1/16 GiB left, h2 has 1/8 and 6/16.
    h1, h2 = host("h1", cpu=8, memory=16), host("h2", cpu=8, memory=16)
    held = (
        Claim(demand=Demand(key="x", cpu=2, memory=13), host="h1"),
        Claim(demand=Demand(key="y", cpu=5, memory=8), host="h2"),
    )
    answer = decide(Cluster({"h1": h1, "h2": h2}, held), new(2, cpu=2), "best_fit")
    assert isinstance(answer, Placed)
    assert answer.host == "h2"


def test_best_fit_keeps_plain_vms_off_hosts_with_scarce_resources():
    hosts = cluster([host("gpu", resources={"gpu": 4}), host("plain")])
    answer = decide(hosts, new(1), "best_fit")
    assert isinstance(answer, Placed)
    assert answer.host == "plain"


@pytest.mark.parametrize("algorithm", ["best_fit", "greedy"])
def test_ties_go_to_the_first_registered(algorithm):
    answer = decide(cluster([host("z"), host("a"), host("m")]), new(1), algorithm)
    assert isinstance(answer, Placed)
    assert (answer.host, answer.runner_up) == ("z", "a")


def test_greedy_is_best_fit_while_anything_fits():
    answer = decide(SEED, new(2))
    assert isinstance(answer, Placed)
    assert (answer.host, answer.moves, answer.algorithm) == ("S2", (), "greedy")


def test_greedy_makes_room_as_in_the_papers_example():
    answer = decide(SEED, new(6))
    assert isinstance(answer, Placed)
    assert answer.host == "S1"
    assert answer.moves == (Move(vm="b", source="S1", target="S2", memory=2),)
    assert "moving b" in answer.why


@pytest.mark.parametrize("algorithm", sorted(set(ALGORITHMS) - set(MOVING)))
def test_the_others_move_nothing(algorithm):
    answer = decide(SEED, new(6), algorithm)
    assert isinstance(answer, NotPlaced)
    assert "migration" not in answer.why


def test_greedy_moves_the_least_memory():
    held = (("big", "h1", 5), ("small", "h2", 3))
    answer = decide(cluster([host("h1"), host("h2"), host("h3", memory=5)], *held), new(10))
    assert isinstance(answer, Placed)
    assert answer.moves == (Move(vm="small", source="h2", target="h1", memory=3),)
    assert answer.runner_up == "h1"


def test_greedy_tries_the_next_pair_when_the_cheapest_cannot_move():
    # b is cheapest, and its label keeps it on h1.
    hosts = {each.key: each for each in (host("h1", labels={"ssd": "y"}), host("h2", memory=5))}
    held = (
        Claim(demand=Demand(key="b", cpu=1, memory=3, host_labels={"ssd": "y"}), host="h1"),
        Claim(demand=Demand(key="c", cpu=1, memory=4), host="h1"),
    )
    answer = decide(Cluster(hosts, held), new(6))
    assert isinstance(answer, Placed)
    assert answer.moves == (Move(vm="c", source="h1", target="h2", memory=4),)


def test_greedy_moves_to_where_the_moved_vm_leaves_least():
    hosts = [host("h1"), host("h2", memory=9), host("h3", memory=5)]
    answer = decide(cluster(hosts, ("a", "h1", 5)), new(10))
    assert isinstance(answer, Placed)
    assert answer.moves[0].target == "h3"


def test_a_vm_that_started_on_a_host_of_its_own_choice_can_still_be_moved():
    answer = decide(cluster([host("h1"), host("h2", memory=5)], ("a", "h1", 5), wanted_host="h1"), new(10))
    assert isinstance(answer, Placed)
    assert answer.moves[0].vm == "a"


@pytest.mark.parametrize("changes", [{"pinned": True}, {"movable": False}])
def test_pinned_and_busy_vms_stay(changes):
    answer = decide(cluster([host("h1"), host("h2", memory=5)], ("a", "h1", 5), **changes), new(10))
    assert isinstance(answer, NotPlaced)


@pytest.mark.parametrize("state", [HostState.DRAINING, HostState.UNREACHABLE, HostState.DOWN])
@pytest.mark.parametrize("which", ["h1", "h2"])
def test_room_is_made_only_between_hosts_that_are_up(state, which):
    hosts = [host("h1", state=HostState.UP), host("h2", memory=5)]
    hosts = [Host(key=h.key, cpu=h.cpu, memory=h.memory, state=state) if h.key == which else h for h in hosts]
    answer = decide(cluster(hosts, ("a", "h1", 5)), new(10))
    assert isinstance(answer, NotPlaced)


def test_room_is_made_on_the_named_host_alone():
    held = (("small", "h1", 3), ("big", "h2", 5))
    hosts = [host("h1"), host("h2"), host("h3", memory=5)]
    answer = decide(cluster(hosts, *held), new(10, wanted_host="h2"))
    assert isinstance(answer, Placed)
    assert (answer.host, answer.moves[0].vm) == ("h2", "big")


def test_a_name_taken_at_the_target_keeps_a_vm_from_moving_there():
    hosts = [host("h1"), host("h2", memory=5, names_taken=frozenset({"a"})), host("h3", memory=9)]
    answer = decide(cluster(hosts, ("a", "h1", 5)), new(10))
    assert isinstance(answer, Placed)
    assert answer.moves[0].target == "h3"


def test_two_alike_vms_on_different_hosts_do_not_mistake_each_others_targets():
    # What is found for a is h2 itself when seen from h2: b must look further.
    hosts = [host("h1", memory=6), host("h2", memory=9)]
    held = (("a", "h1", 3), ("b", "h2", 3))
    answer = decide(cluster(hosts, *held), new(7))
    assert isinstance(answer, Placed)
    assert answer.moves == (Move(vm="b", source="h2", target="h1", memory=3),)
