"""That the smallest change is the smallest, where the masks alone do not show it."""

from hpgreedy.model import Claim, Cluster, Demand, Host, HostState, Node, Rule, RuleKind
from hpgreedy.placement import Fleet
from hpgreedy.placement.explain.answer import explain


def change_of(demand, *hosts):
    why = explain(Fleet(Cluster({host.key: host for host in hosts}, ())), demand, "best_fit")
    return why.change


def kinds(change):
    return change.host, [edit.kind for edit in change.edits]


def test_one_large_edit_is_smaller_than_two_small_ones_on_many_hosts():
    nearly = [Host(key=f"h{n}", cpu=9, memory=99) for n in range(40)]
    half = Host(key="half", cpu=5, memory=100)
    assert kinds(change_of(Demand(key="new", cpu=10, memory=100), *nearly, half)) == ("half", ["more_cpu"])


def test_among_as_many_edits_the_least_share_of_the_need_wins():
    hosts = [Host(key="cpu", cpu=9, memory=1000), Host(key="memory", cpu=10, memory=950)]
    change = change_of(Demand(key="new", cpu=10, memory=1000), *hosts)
    assert (change.host, change.edits[0].amount) == ("memory", 50)


def test_an_amount_is_smaller_than_an_edit_of_another_kind():
    hosts = [Host(key="down", cpu=9, memory=9, state=HostState.DOWN), Host(key="small", cpu=2, memory=9)]
    assert kinds(change_of(Demand(key="new", cpu=9, memory=9), *hosts)) == ("small", ["more_cpu"])


def test_a_host_whose_nodes_have_the_room_on_different_nodes_is_looked_at_closely():
    split = (Node(cpu=8, memory=1), Node(cpu=1, memory=8))
    hosts = [
        Host(key="split", cpu=9, memory=9, numa=split, state=HostState.DRAINING),
        Host(key="drained", cpu=9, memory=9, numa=(Node(cpu=8, memory=8),), state=HostState.DRAINING),
    ]
    assert kinds(change_of(Demand(key="new", cpu=4, memory=4, numa=1), *hosts)) == ("drained", ["host_up"])


def test_a_label_that_also_keeps_a_rule_is_one_edit():
    near = Rule(kind=RuleKind.NEAR, labels=frozenset({("zone", "b")}))
    demand = Demand(
        key="new",
        cpu=1,
        memory=1,
        host_labels={"zone": "b"},
        rules=(near,),
        bridges=frozenset({"br0", "br1"}),
    )
    hosts = [
        Host(key="bare", cpu=9, memory=9, labels={"zone": "b"}, bridges=frozenset()),
        Host(key="unlabelled", cpu=9, memory=9),
    ]
    assert kinds(change_of(demand, *hosts)) == ("unlabelled", ["label"])


def test_a_vm_that_stands_on_every_host_needs_one_more():
    held = Demand(key="new", cpu=1, memory=1)
    fleet = Fleet(Cluster({"h1": Host(key="h1", cpu=9, memory=9)}, ()))
    fleet.add(Claim(demand=held, host="h1"))
    assert kinds(explain(fleet, held, "best_fit").change) == (None, ["add_host"])
