"""What an explanation says in words, and that the text says what the JSON does."""

import io
import json

import msgspec
import pytest
from hypothesis import given, settings
from placement_cases import ANY, CASES, LAST, SEEDS

from hpgreedy.client.explain import explanation
from hpgreedy.client.grid import plain
from hpgreedy.client.screen import Screen
from hpgreedy.model import Claim, Cluster, Demand, Host, HostState, Node, Rule, RuleKind
from hpgreedy.placement import Fleet, Limits, NotPlaced, Placed, Placer, Reason, Rejection
from hpgreedy.placement.explain.answer import explain, explain_answer
from protocol.explanation import EditKind, Explanation, Measure

GIB = 1024


def fleet_of(*hosts, held=()):
    return Fleet(Cluster({host.key: host for host in hosts}, tuple(held)))


def vm(cpu, memory, **more):
    return Demand(**{"key": "new", "cpu": cpu, "memory": memory * GIB, **more})


def claim(key, on, cpu, memory, **more):
    return Claim(demand=Demand(key=key, cpu=cpu, memory=memory * GIB, **more), host=on, movable=False)


def host(key, cpu=16, memory=64, **more):
    return Host(key=key, cpu=cpu, memory=memory * GIB, **more)


def text_of(why):
    return plain(explanation(why))


def test_best_fit_says_what_would_be_left_on_both():
    held = [claim("a", "h1", 12, 52), claim("b", "h2", 3, 20)]
    why = explain(fleet_of(host("h1"), host("h2"), held=held), vm(1, 4))
    assert why.host == "h1"
    assert why.runner_up.host == "h2"
    assert why.runner_up.measure == Measure.LEFT_OVER
    assert why.runner_up.why == "12 cpus with 40GiB would be left on h2, 3 cpus with 8GiB on h1"
    assert why.runner_up.chosen < why.runner_up.value
    assert (why.runner_up.left.cpu, why.runner_up.left_on_chosen.memory) == (12, 8 * GIB)


def test_a_tie_is_called_one():
    why = explain(fleet_of(host("h1"), host("h2")), vm(1, 1), "worst_fit")
    assert why.runner_up.why == (
        "as much would be left on h2 as on h1 (15 cpus with 63GiB), which comes first"
    )


@pytest.mark.parametrize(
    ("algorithm", "words", "measure"),
    [
        ("first_fit", "h2 comes after h1 in order of registration", "order"),
        ("next_fit", "h1 comes after h2 in the circle, which begins after h1", "order"),
        ("weight_balanced", "h2 would be 50.0% full, h1 75.0%, and 75% is aimed at", "utilisation"),
        ("epsilon_greedy", "(seed 3)", "chance"),
        ("dot_product", "in that room's own direction", "share"),
        ("norm", "at a distance of", "distance"),
    ],
)
def test_each_algorithm_compares_by_its_own_measure(algorithm, words, measure):
    held = [claim("a", "h1", 8, 32)]
    why = explain(fleet_of(host("h1"), host("h2"), held=held), vm(4, 32), algorithm, seed=3, last="h1")
    if algorithm == "weight_balanced":
        why = explain(fleet_of(host("h1"), host("h2"), held=held), vm(4, 16), algorithm)
        words = "h2 would be 25.0% full, h1 75.0%, and 75% is aimed at"
    assert words in why.runner_up.why
    assert why.runner_up.measure == measure


def test_a_soft_rule_comes_before_the_measure():
    soft = Rule(kind=RuleKind.APART, group="web", hard=False, weight=2.0)
    held = [claim("a", "h1", 8, 32, group="web"), claim("b", "h1", 1, 1, group="web")]
    fleet = fleet_of(host("h1"), host("h2"), held=held)
    why = explain(fleet, vm(1, 1, rules=(soft,)))
    assert (why.host, why.broken) == ("h2", ())
    assert why.runner_up.why == "h1 would break soft rules at a cost of 4, h2 at one of 0"
    assert (why.runner_up.chosen, why.runner_up.value) == (0, 4)
    broken = explain(fleet, vm(1, 1, rules=(soft,), wanted_host="h1")).broken
    assert [each.sentence for each in broken] == ["h1 breaks the soft rule apart web at a cost of 4"]


def test_room_made_for_another_host_is_told_with_the_moves():
    hosts = [host(name, 10, 10) for name in ("S1", "S2")]
    loose = [
        Claim(demand=Demand(key=key, cpu=1, memory=memory * GIB), host=on)
        for key, on, memory in (("a", "S1", 4), ("b", "S1", 2), ("c", "S2", 8))
    ]
    why = explain(fleet_of(*hosts, held=loose), vm(1, 6))
    assert [(move.vm, move.source, move.target) for move in why.moves] == [("b", "S1", "S2")]
    assert why.searched.complete
    assert "b (2GiB) from S1 to S2" in text_of(why)
    assert [each.reason for each in why.rejected] == ["memory"]


@pytest.mark.parametrize(
    ("hosts", "demand", "kinds", "sentence"),
    [
        ([host("h1", 4)], vm(6, 1), ["more_cpu"], "it would fit if h1 has 2 cpus more to give out"),
        (
            [host("h1", 16, 8), host("h2", 15, 64)], vm(16, 9), ["more_cpu"],
            "it would fit if h2 has 1 cpu more to give out",
        ),
        (
            [host("h1", state=HostState.DRAINING)], vm(1, 1), ["host_up"],
            "it would fit if h1 is up (it is draining)",
        ),
        (
            [host("h1", labels={"zone": "a"}), host("h2", 2)], vm(4, 1, host_labels={"zone": "b"}), ["label"],
            "it would fit if h1 has the label zone=b",
        ),
        (
            [host("h1")], vm(1, 1, wanted_host="h9"), ["drop_named_host"],
            "it would fit if the VM need not start on h9",
        ),
        (
            [host("h1", 1)], vm(4, 2, wanted_host="h9"), ["add_host"],
            "it would fit if there is a host more named h9, with 4 cpus with 2GiB free",
        ),
        ([], vm(4, 2), ["add_host"], "it would fit if there is a host more, with 4 cpus with 2GiB free"),
        (
            [host("h1", names_taken=frozenset({"new"}))], vm(1, 1), ["rename"],
            "it would fit if the VM has another id than new",
        ),
        (
            [host("h1")], vm(2, 1, numa=2), ["drop_numa"],
            "it would fit if the VM does not ask for 2 NUMA nodes (h1 has 0)",
        ),
        (
            [host("h1", numa=(Node(cpu=8, memory=32 * GIB), Node(cpu=1, memory=32 * GIB)))], vm(4, 4, numa=2),
            ["more_numa_room"], "it would fit if h1 has 1 cpu with 0MiB more on node 1 to give out",
        ),
        (
            [host("h1", pools=frozenset({"hdd"}), bridges=frozenset(), networks=frozenset({"n"}))],
            vm(1, 1, pool="ssd", bridges=frozenset({"br0"})), ["bridge", "pool"],
            "it would fit if h1 has the bridge br0, and h1 has the storage pool ssd",
        ),
        (
            [host("h1", labels={"rack": "r1"})],
            vm(1, 1, rules=(Rule(kind=RuleKind.AVOID, labels=frozenset({("rack", "r1")})),)),
            ["drop_avoid"], "it would fit if the VM drops its rule affinity[0], avoid rack=r1",
        ),
    ],
)  # fmt: skip
def test_the_smallest_change_in_words(hosts, demand, kinds, sentence):
    change = explain(fleet_of(*hosts), demand, "best_fit").change
    assert [edit.kind for edit in change.edits] == kinds
    assert change.sentence == sentence


def test_a_label_that_breaks_a_rule_is_not_given_without_dropping_the_rule():
    apart = Rule(kind=RuleKind.APART, group="web", scope="rack")
    hosts = [host("h1", labels={"rack": "r1"}), host("h2", 1, 1, labels={"rack": "r2"})]
    fleet = fleet_of(*hosts, held=[claim("a", "h2", 1, 1, group="web")])
    change = explain(fleet, vm(8, 8, host_labels={"rack": "r2"}, rules=(apart,)), "best_fit").change
    assert [edit.kind for edit in change.edits] == [EditKind.LABEL, EditKind.DROP_APART]


def test_many_hosts_are_told_by_class_and_all_on_request():
    hosts = [host(f"h{n}", 1 + n % 40, labels={"zone": "a"}) for n in range(200)]
    hosts += [host(f"g{n}", labels={"zone": "b"}) for n in range(100)]
    why = explain(fleet_of(*hosts), vm(60, 1, host_labels={"zone": "a"}), "best_fit")
    assert [(each.reason, each.name, each.count, each.groups) for each in why.rejected] == [
        ("label", "zone", 100, 1),
        ("cpu", "", 200, 40),
    ]
    label, cpu = why.rejected
    assert (cpu.best, cpu.need, cpu.have) == ("h39", 60, 40)
    assert (len(label.alike[0].hosts), label.alike[0].count) == (16, 100)
    assert [each.have for each in cpu.alike] == list(range(40, 24, -1))
    text = text_of(why)
    assert "200 hosts: cpu; the nearest 16 of 40 groups with the same numbers:" in text
    assert "and 84 more: label: needs zone=a, it has zone=b" in text
    whole = explain(fleet_of(*hosts), vm(60, 1, host_labels={"zone": "a"}), "best_fit", most=None)
    assert sorted(h for each in whole.rejected for alike in each.alike for h in alike.hosts) == sorted(
        each.key for each in hosts
    )


def test_a_search_that_was_cut_off_is_told_as_such():
    ticks = iter(range(10**9))
    limits = Limits(seconds=0.0, clock=lambda: float(next(ticks)))
    loose = [Claim(demand=Demand(key=f"v{n}", cpu=1, memory=30 * GIB), host=f"h{n % 3}") for n in range(6)]
    fleet = fleet_of(*(host(f"h{n}") for n in range(3)), held=loose)
    why = explain(fleet, vm(8, 64), limits=limits)
    assert not why.searched.complete
    assert "not all of them in the time given" in text_of(why)
    whole = explain(fleet, vm(8, 64), limits=Limits(depth=1))
    assert "all single live migrations that could make room" in text_of(whole)


def test_what_admission_refuses_is_a_class_of_its_own():
    fleet = fleet_of(host("h1"), host("h2", state=HostState.DOWN))
    refused = NotPlaced(
        rejections=(
            Rejection(host="h1", reason=Reason.N1, detail="if h1 dies, new cannot be restarted"),
            Rejection(host="h2", reason=Reason.STATE, detail="it is down"),
        ),
        why="it fits, but",
        ever=True,
        algorithm="greedy",
    )
    why = explain_answer(fleet, vm(1, 1), refused)
    assert [(each.reason, each.alike[0].hosts) for each in why.rejected] == [
        ("state", ("h2",)),
        ("n1", ("h1",)),
    ]
    assert (why.taking, why.change) == (0, None)


def test_a_decision_made_without_words_can_be_explained():
    fleet = fleet_of(host("h1"), host("h2"))
    silent = Placer(fleet).decide(vm(1, 1), explained=False)
    assert isinstance(silent, Placed)
    assert explain_answer(fleet, vm(1, 1), silent).runner_up.host == "h2"


def leaves(value, skipped=("kind", "measure", "outcome", "algorithm", "value", "scope", "about")):
    """The words and the hosts of builtin values; enumerated ones are told in words of their own."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key not in skipped:
                yield from leaves(each)
    elif isinstance(value, list):
        for each in value:
            yield from leaves(each)
    elif isinstance(value, str):
        yield value


@given(case=CASES, algorithm=ANY, seed=SEEDS, last=LAST)
@settings(max_examples=200)
def test_the_text_says_what_the_json_does(case, algorithm, seed, last):
    cluster, demand = case
    why = explain(Fleet(cluster), demand, algorithm, seed=seed, last=last)
    text = text_of(why)
    for words in leaves(json.loads(msgspec.json.encode(why))):
        assert words.replace("_", " ") in text.replace("_", " ")
    if why.searched is not None:
        assert ("not all of them" in text) is (not why.searched.complete)
    assert f"{why.taking} of {why.hosts} take it" in text
    assert msgspec.json.decode(msgspec.json.encode(why), type=Explanation) == why
    out = io.StringIO()
    Screen(json=True, out=out).answer(why)
    assert json.loads(out.getvalue())["outcome"] == why.outcome
