"""The kinds of chain that make room, each where no other one does."""

import pytest

from hpgreedy.model import Claim, Cluster, Demand, Host, HostState, Node, Rule, RuleKind
from hpgreedy.placement import Fleet, Limits
from hpgreedy.placement.makeroom import search

GIB = 1024


def host(key, memory, **more):
    return Host(key=key, cpu=99, memory=memory * GIB, **more)


def vm(key, memory, **more):
    return Demand(key=key, cpu=1, memory=memory * GIB, **more)


def on(host, *demands, movable=True):
    return [Claim(demand=demand, host=host, movable=movable) for demand in demands]


def found(hosts, claims, demand, depth=2, **limits):
    cluster = Cluster({host.key: host for host in hosts}, tuple(claims))
    return search(Fleet(cluster), demand, Limits(depth=depth, **limits))


def chain(*args, **limits):
    plan = found(*args, **limits).plan
    return plan and [(move.vm, move.source, move.target) for move in plan.moves]


def group(kind, name="g", scope="host"):
    return {"group": name, "rules": (Rule(kind=kind, group=name, scope=scope),)}


def test_one_move():
    hosts = [host("a", 8), host("b", 8)]
    claims = [*on("a", vm("x", 5), vm("y", 2)), *on("b", vm("z", 6))]
    answer = found(hosts, claims, vm("new", 3), depth=1)
    assert answer.plan is not None
    assert [(m.vm, m.source, m.target, m.memory) for m in answer.plan.moves] == [("y", "a", "b", 2 * GIB)]
    assert answer.plan.host == "a"
    assert answer.plan.why == "no host has room, and moving y (2GiB) from a to b makes room on a"


def test_several_leave_one_host():
    hosts = [host("a", 8), host("b", 8), host("c", 8)]
    claims = [*on("a", vm("x", 2), vm("y", 2), vm("z", 4)), *on("b", vm("p", 6)), *on("c", vm("q", 6))]
    moved = chain(hosts, claims, vm("new", 4))
    assert moved is not None
    assert {(vm, source) for vm, source, _ in moved} == {("x", "a"), ("y", "a")}
    assert {target for *_, target in moved} == {"b", "c"}
    assert chain(hosts, claims, vm("new", 4), depth=1) is None


def test_another_one_leaves_first():
    hosts = [host("a", 8, labels={"ssd": "y"}), host("b", 8), host("c", 8)]
    claims = [*on("a", vm("x", 6)), *on("b", vm("y", 4), vm("p", 2)), *on("c", vm("q", 4))]
    wanted = vm("new", 8, host_labels={"ssd": "y"})
    assert chain(hosts, claims, wanted) == [("y", "b", "c"), ("x", "a", "b")]
    assert chain(hosts, claims, wanted, depth=1) is None


def test_both_mixed():
    hosts = [host("a", 8, labels={"ssd": "y"}), host("b", 8), host("c", 8)]
    claims = [
        *on("a", vm("w", 1), vm("x", 6)),
        *on("b", vm("y", 4), vm("p", 2)),
        *on("c", vm("q", 3)),
    ]
    wanted = vm("new", 8, host_labels={"ssd": "y"})
    moved = chain(hosts, claims, wanted, depth=3)
    assert moved is not None
    assert {(vm, source) for vm, source, _ in moved} == {("w", "a"), ("x", "a"), ("y", "b")}
    assert moved.index(("y", "b", "c")) < moved.index(("x", "a", "b"))
    assert chain(hosts, claims, wanted) is None


def test_two_change_places_by_way_of_a_third_host():
    hosts = [host("h", 4, labels={"rack": "1"}), host("f", 4), host("t", 6)]
    claims = [*on("h", vm("x", 4)), *on("f", vm("y", 2)), *on("t", vm("z", 2, host_labels={"rack": "1"}))]
    wanted = vm("new", 6)
    assert chain(hosts, claims, wanted, depth=3) is None
    moved = chain(hosts, claims, wanted, depth=4, effort=100_000)
    assert moved == [("y", "f", "t"), ("x", "h", "f"), ("y", "t", "h"), ("z", "t", "h")]


def test_the_source_is_held_until_the_move_is_done():
    """x and y would fit in each other's places, and neither has room to begin."""
    hosts = [host("a", 4, labels={"ssd": "y"}), host("b", 4)]
    claims = [*on("a", vm("x", 3)), *on("b", vm("y", 2))]
    answer = found(hosts, claims, vm("new", 2, host_labels={"ssd": "y"}), depth=3)
    assert answer.plan is None
    assert answer.complete


def test_less_memory_goes_before_fewer_moves_and_these_before_more():
    hosts = [host("a", 8, labels={"ssd": "y"}), host("b", 8, labels={"ssd": "y"}), host("c", 10)]
    claims = [*on("a", vm("x", 1), vm("y", 1), vm("z", 6)), *on("c", vm("q", 7))]
    wanted = vm("new", 2, host_labels={"ssd": "y"})
    dearer = [*claims, *on("b", vm("w", 3), vm("p", 5, pinned=True))]
    assert {vm for vm, *_ in chain(hosts, dearer, wanted) or ()} == {"x", "y"}
    even = [*claims, *on("b", vm("w", 2), vm("p", 6, pinned=True))]
    assert chain(hosts, even, wanted) == [("w", "b", "c")]


@pytest.mark.parametrize("how", ["pinned", "operation", "unreachable"])
def test_what_may_not_move_stays(how):
    state = HostState.UNREACHABLE if how == "unreachable" else HostState.UP
    hosts = [
        host("a", 8, state=state, labels={"rack": "1"}),
        host("b", 8, labels={"rack": "1"}),
        host("c", 1),
    ]
    mate = vm("x", 1, group="g", pinned=how == "pinned")
    claims = on("a", mate, movable=how != "operation")
    apart = vm("new", 2, rules=(Rule(kind=RuleKind.APART, group="g", scope="rack"),))
    assert chain(hosts, claims, apart) is None
    free = on("a", vm("x", 1, group="g"))
    hosts[0] = host("a", 8, labels={"rack": "1"})
    assert chain(hosts, free, apart) == [("x", "a", "c")]


def test_a_vm_may_leave_a_draining_host_and_go_to_none():
    hosts = [
        host("a", 8, state=HostState.DRAINING, labels={"rack": "1"}),
        host("b", 8, labels={"rack": "1"}),
        host("c", 9, state=HostState.DRAINING, labels={"rack": "2"}),
        host("d", 1, labels={"rack": "3"}),
    ]
    apart = vm("new", 2, rules=(Rule(kind=RuleKind.APART, group="g", scope="rack"),))
    assert chain(hosts, on("a", vm("x", 1, group="g")), apart) == [("x", "a", "d")]


def test_a_vm_starts_on_the_host_it_names_and_moves_anywhere():
    hosts = [host("a", 4), host("b", 4)]
    claims = on("a", vm("x", 3, wanted_host="a"))
    assert chain(hosts, claims, vm("new", 4, wanted_host="a")) == [("x", "a", "b")]
    assert chain(hosts, [*claims, *on("b", vm("y", 3))], vm("new", 4, wanted_host="b")) is None


def test_one_that_must_be_apart_leaves():
    hosts = [host("a", 8), host("b", 8, labels={"ssd": "y"})]
    claims = on("b", vm("x", 1, group="g"))
    wanted = vm("new", 1, host_labels={"ssd": "y"}, **group(RuleKind.APART))
    assert chain(hosts, claims, wanted) == [("x", "b", "a")]


def test_one_that_must_be_together_comes_along():
    hosts = [host("a", 4), host("b", 8)]
    claims = on("a", vm("x", 2, group="g"))
    assert chain(hosts, claims, vm("new", 5, **group(RuleKind.TOGETHER))) == [("x", "a", "b")]


def test_the_rules_of_others_hold_after_each_move():
    hosts = [host("a", 4), host("b", 4), host("c", 4)]
    claims = [
        *on("a", vm("x", 2, **group(RuleKind.APART))),
        *on("b", vm("y", 1, **group(RuleKind.APART)), vm("p", 1, pinned=True)),
        *on("c", vm("q", 1, pinned=True)),
    ]
    assert chain(hosts, claims, vm("new", 4, wanted_host="a")) == [("x", "a", "c")]
    assert chain(hosts[:2], claims[:3], vm("new", 4, wanted_host="a")) is None


def numa_host(key, nodes, each):
    node = Node(cpu=99, memory=each * GIB)
    return Host(key=key, cpu=99, memory=nodes * each * GIB, numa=(node,) * nodes)


def on_node(host, node, demand):
    return Claim(demand=demand, host=host, numa_nodes=(node,))


def test_nodes_are_named_for_the_moved_and_for_the_new():
    hosts = [numa_host("a", 2, 4), numa_host("b", 2, 4)]
    claims = [
        on_node("a", 0, vm("w", 2, numa=1)),
        on_node("a", 1, vm("x", 2, numa=1)),
        on_node("b", 0, vm("y", 3, numa=1)),
        on_node("b", 1, vm("z", 2, numa=1)),
    ]
    plan = found(hosts, claims, vm("new", 4, numa=1)).plan
    assert plan is not None
    assert [(m.vm, m.target, m.numa_nodes) for m in plan.moves] == [("w", "b", (1,))]
    assert (plan.host, plan.numa_nodes) == ("a", (0,))


def test_a_vm_that_goes_away_may_come_back_on_another_node():
    hosts = [numa_host("b", 2, 4), numa_host("c", 1, 6)]
    claims = [
        on_node("b", 0, vm("x", 2, numa=1)),
        on_node("b", 1, vm("v", 2, numa=1, pinned=True)),
        on_node("c", 0, vm("y", 4, numa=1)),
    ]
    plan = found(hosts, claims, vm("new", 6, numa=1), depth=3).plan
    assert plan is not None
    assert [(m.vm, m.target, m.numa_nodes) for m in plan.moves] == [
        ("x", "c", (0,)),
        ("x", "b", (1,)),
        ("y", "b", (0,)),
    ]


def test_a_chain_is_told_with_what_the_next_host_would_cost():
    hosts = [host("a", 8, labels={"ssd": "y"}), host("b", 8, labels={"ssd": "y"}), host("c", 8)]
    claims = [*on("a", vm("x", 2), vm("p", 5)), *on("b", vm("y", 3), vm("q", 4)), *on("c", vm("r", 5))]
    answer = found(hosts, claims, vm("new", 3, host_labels={"ssd": "y"}), depth=1)
    assert answer.plan is not None
    assert answer.runner_up == "b"
    assert answer.plan.why == (
        "no host has room, and moving x (2GiB) from a to c makes room on a; on b it would take 3GiB"
    )


def test_several_moves_are_told_in_their_order():
    hosts = [host("a", 8, labels={"ssd": "y"}), host("b", 8), host("c", 8)]
    claims = [*on("a", vm("x", 6)), *on("b", vm("y", 4), vm("p", 2)), *on("c", vm("q", 4))]
    answer = found(hosts, claims, vm("new", 8, host_labels={"ssd": "y"}), depth=2)
    assert answer.plan is not None
    assert answer.plan.why == (
        "no host has room, and 2 moves of 10GiB in all make room on a: "
        "y (4GiB) from b to c, then x (6GiB) from a to b"
    )
