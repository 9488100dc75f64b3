"""What an explanation says is so: checked by plain code, and by doing what it says."""

import msgspec
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from placement_cases import ANY, CASES, LAST, NEW, SEEDS, clusters
from placement_plain import (
    GROUPED,
    broken_at,
    cost_at,
    free_on,
    offered,
    same_place,
    some_nodes,
    speaks_of,
    takers,
)

from hpgreedy.model import Cluster, Host, HostState, Node, RuleKind
from hpgreedy.placement import Fleet, NotPlaced, Placed, Placer, Reason, check, decide
from hpgreedy.placement.explain.answer import explain
from protocol.explanation import EditKind

replace = msgspec.structs.replace
ROOM = {EditKind.MORE_CPU, EditKind.MORE_MEMORY, EditKind.MORE_RESOURCE, EditKind.MORE_NUMA_ROOM}
DROPS = {EditKind.DROP_NEAR, EditKind.DROP_AVOID, EditKind.DROP_APART, EditKind.DROP_TOGETHER}


def plainly(host):
    """The same host to the placer, without overcommit and reserve."""
    offers = offered(host)
    return replace(
        host,
        cpu=offers["cpu"],
        memory=offers["memory"],
        cpu_overcommit=1.0,
        memory_overcommit=1.0,
        reserve_cpu=0,
        reserve_memory=0,
        numa=tuple(Node(cpu=cpu, memory=memory) for cpu, memory in host.node_capacities),
    )


def with_edit(host, edit):
    """The host after one edit of hosts."""
    match edit.kind:
        case EditKind.MORE_CPU:
            return replace(host, cpu=host.cpu + edit.amount)
        case EditKind.MORE_MEMORY:
            return replace(host, memory=host.memory + edit.amount)
        case EditKind.MORE_RESOURCE:
            has = host.resources.get(edit.name, 0)
            return replace(host, resources={**host.resources, edit.name: has + edit.amount})
        case EditKind.MORE_NUMA_ROOM:
            nodes = list(host.numa)
            for room in edit.nodes:
                old = nodes[room.node]
                nodes[room.node] = Node(cpu=old.cpu + room.cpu, memory=old.memory + room.memory)
            return replace(host, numa=tuple(nodes))
        case EditKind.LABEL:
            return replace(host, labels={**host.labels, edit.name: edit.value})
        case EditKind.HOST_UP:
            return replace(host, state=HostState.UP)
        case EditKind.ACCELERATOR:
            return replace(host, accelerator=edit.name)
    field = {
        EditKind.BRIDGE: "bridges",
        EditKind.NETWORK: "networks",
        EditKind.POOL: "pools",
        EditKind.CPU_MODEL: "cpu_models",
    }[edit.kind]
    return replace(host, **{field: getattr(host, field) | {edit.name}})


def applied(cluster, demand, edits):
    """The cluster and the demand after the edits."""
    hosts, dropped = dict(cluster.hosts), set()
    for edit in edits:
        if edit.kind == EditKind.ADD_HOST:
            shape, key = edit.shape, edit.name or "one-more"
            numa = tuple(Node(cpu=node.cpu, memory=node.memory) for node in edit.nodes)
            hosts[key] = Host(
                key=key, cpu=shape.cpu, memory=shape.memory, resources=shape.resources, labels=edit.labels,
                numa=numa,
            )  # fmt: skip
        elif edit.kind in DROPS:
            dropped.add(edit.rule)
        elif edit.kind == EditKind.LEAVE_GROUP:
            demand = replace(demand, group=None)
        elif edit.kind == EditKind.DROP_NAMED_HOST:
            demand = replace(demand, wanted_host=None)
        elif edit.kind == EditKind.DROP_NUMA:
            demand = replace(demand, numa=0)
        elif edit.kind == EditKind.RENAME:
            demand = replace(demand, key="of-another-name")
        else:
            host = hosts[edit.host]
            hosts[edit.host] = with_edit(plainly(host) if edit.kind in ROOM else host, edit)
    rules = tuple(rule for n, rule in enumerate(demand.rules) if n not in dropped)
    return Cluster(hosts, cluster.claims), replace(demand, rules=rules)


def watched(cluster, demand, key):
    """Whether the host breaks a rule of a placed VM about the demand's group."""
    return any(
        rule.hard
        and rule.kind in GROUPED
        and demand.group is not None
        and demand.group == rule.group
        and same_place(cluster, key, claim.host, rule.scope) is (rule.kind is RuleKind.APART)
        for claim in cluster.claims
        if claim.host in cluster.hosts and claim.demand.key != demand.key
        for rule in claim.demand.rules
    )


def breaks(cluster, demand, key, rule):
    scope_missing = rule.kind in GROUPED and rule.scope not in ("host", *cluster.hosts[key].labels)
    return bool(rule.hard and (broken_at(cluster, rule, demand, key) or scope_missing))


def short(cluster, demand, key):
    """What the host has too little of, by name."""
    free = free_on(cluster, key)
    names = {name for name, units in demand.resources.items() if units and units > max(free.get(name, 0), 0)}
    return names | {name for name in ("cpu", "memory") if getattr(demand, name) > free[name]}


def lacks(cluster, demand, key):
    """How many edits the host would need, counted one by one."""
    host = cluster.hosts[key]
    labels = {name: value for name, value in demand.host_labels.items() if host.labels.get(name) != value}
    labelled = Cluster(
        {**cluster.hosts, key: replace(host, labels={**host.labels, **labels})}, cluster.claims
    )
    return (
        len(labels)
        + sum(breaks(labelled, demand, key, rule) for rule in demand.rules)
        + watched(labelled, demand, key)
        + (demand.wanted_host not in (None, key))
        + (0 if host.bridges is None else len(demand.bridges - host.bridges))
        + (0 if host.networks is None else len(demand.networks - host.networks))
        + (demand.pool is not None and host.pools is not None and demand.pool not in host.pools)
        + (
            demand.cpu_model is not None
            and host.cpu_models is not None
            and demand.cpu_model not in host.cpu_models
        )
        + (bool(host.accelerator) and demand.accelerator not in (None, host.accelerator))
        + (host.state is not HostState.UP)
        + (demand.key in host.names_taken)
        + len(short(cluster, demand, key))
        + (some_nodes(cluster, key, demand) is None)
    )


def is_so(cluster, demand, key, reason, name):
    """Whether the rule rejects the host."""
    host = cluster.hosts[key]
    match reason:
        case Reason.CPU | Reason.MEMORY:
            return reason.value in short(cluster, demand, key)
        case Reason.RESOURCE:
            return name in short(cluster, demand, key)
        case Reason.NUMA:
            return some_nodes(cluster, key, demand) is None
        case Reason.LABEL:
            return host.labels.get(name) != demand.host_labels[name]
        case Reason.NAMED_HOST:
            return demand.wanted_host == name != key
        case Reason.NEAR | Reason.AVOID:
            return any(
                rule.kind == reason and speaks_of(rule, host) is (reason is Reason.AVOID)
                for rule in demand.rules
            )
        case Reason.APART | Reason.TOGETHER:
            own = any(rule.kind == reason and breaks(cluster, demand, key, rule) for rule in demand.rules)
            return own or (name == demand.group and watched(cluster, demand, key))
        case Reason.STATE:
            return host.state is not HostState.UP
        case Reason.ALREADY_THERE:
            return any(claim.demand.key == demand.key and claim.host == key for claim in cluster.claims)
        case Reason.NAME_TAKEN:
            return demand.key in host.names_taken
        case Reason.ACCELERATOR:
            return demand.accelerator == name != host.accelerator != ""
    field, wanted = {
        Reason.BRIDGE: ("bridges", demand.bridges),
        Reason.NETWORK: ("networks", demand.networks),
        Reason.POOL: ("pools", {demand.pool}),
        Reason.CPU_MODEL: ("cpu_models", {demand.cpu_model}),
    }[reason]
    return name in wanted and name not in getattr(host, field)


@st.composite
def cases(draw):
    """A new VM, or one that stands somewhere and is to go elsewhere."""
    cluster, demand = draw(CASES)
    placed = [claim.demand.unbound() for claim in cluster.claims]
    return cluster, draw(st.sampled_from([demand, demand, *placed[:1]]))


@given(case=cases(), algorithm=ANY, seed=SEEDS, last=LAST)
@settings(max_examples=300)
def test_every_host_takes_it_or_is_in_one_class_whose_rule_it_breaks(case, algorithm, seed, last):
    cluster, demand = case
    answer = explain(Fleet(cluster), demand, algorithm, seed=seed, last=last)
    free = takers(cluster, demand)
    named = [host for each in answer.rejected for alike in each.alike for host in alike.hosts]
    assert sorted([*named, *free]) == sorted(cluster.hosts)
    assert (answer.hosts, answer.taking) == (len(cluster.hosts), len(free))
    for each in answer.rejected:
        assert each.count == sum(alike.count for alike in each.alike)
        assert each.best == each.alike[0].hosts[0]
        assert each.have == max((alike.have for alike in each.alike), default=None, key=lambda x: x or 0)
        for host in (host for alike in each.alike for host in alike.hosts):
            assert is_so(cluster, demand, host, Reason(each.reason), each.name)


@given(case=cases())
@settings(max_examples=200)
def test_classes_say_of_each_host_what_the_check_of_that_host_says(case):
    cluster, demand = case
    fleet = Fleet(cluster)
    for each in explain(fleet, demand, "best_fit").rejected:
        for alike in each.alike:
            for host in alike.hosts:
                single = check(fleet, demand, fleet.position[host])
                assert single is not None
                told = single.reason.value, single.detail, single.need, single.have
                assert told == (each.reason, alike.detail, alike.need, alike.have)


@given(case=cases(), algorithm=ANY)
@settings(max_examples=200)
def test_a_refusal_has_one_rejection_for_every_host(case, algorithm):
    cluster, demand = case
    answer = decide(cluster, demand, algorithm)
    if isinstance(answer, NotPlaced):
        fleet = Fleet(cluster)
        assert answer.rejections == tuple(check(fleet, demand, n) for n, _ in fleet.standing_hosts())


@given(case=cases(), algorithm=ANY)
@settings(max_examples=600)
def test_the_smallest_change_admits_the_vm_and_no_host_needs_fewer_edits(case, algorithm):
    cluster, demand = case
    answer = explain(Fleet(cluster), demand, algorithm)
    assume(answer.outcome == "refused")
    change = answer.change
    assert change is not None
    after, asked = applied(cluster, demand, change.edits)
    placed = decide(after, asked, algorithm)
    assert isinstance(placed, Placed)
    assert not placed.moves
    host = change.host or next(iter(after.hosts.keys() - cluster.hosts.keys()))
    assert host in takers(after, asked)
    on = {claim.host for claim in cluster.claims if claim.demand.key == demand.key}
    others = [lacks(cluster, demand, key) for key in cluster.hosts if key not in on]
    assert len(change.edits) <= min(others, default=99)
    if change.host is not None:
        assert len(change.edits) == lacks(cluster, demand, change.host)
    for left_out in change.edits:
        fewer = [edit for edit in change.edits if edit is not left_out]
        rest, still = applied(cluster, demand, fewer)
        assert host not in takers(rest, still)


@given(case=cases())
@settings(max_examples=400)
def test_what_is_asked_for_at_most_is_placed_as_things_stand(case):
    cluster, demand = case
    answer = explain(Fleet(cluster), demand, "best_fit")
    assume(answer.at_most is not None)
    most = answer.at_most
    smaller = replace(demand, cpu=most.cpu, memory=most.memory)
    assert most.host in takers(cluster, smaller)
    assert (most.cpu, most.memory) != (demand.cpu, demand.memory)
    for more in ((most.cpu + 1, most.memory), (most.cpu, most.memory + 1)):
        if not demand.numa:
            assert most.host not in takers(cluster, replace(demand, cpu=more[0], memory=more[1]))


@given(cluster=clusters(), demand=NEW, algorithm=ANY, seed=SEEDS, last=LAST)
@settings(max_examples=300)
def test_the_runner_up_is_next_and_the_costs_of_soft_rules_are_right(cluster, demand, algorithm, seed, last):
    answer = explain(Fleet(cluster), demand, algorithm, seed=seed, last=last)
    assume(answer.outcome == "placed" and not answer.moves)
    assert round(sum(each.cost for each in answer.broken), 9) == cost_at(cluster, demand, answer.host)
    assert all(broken_at(cluster, demand.rules[each.rule], demand, answer.host) for each in answer.broken)
    if answer.runner_up is None:
        return
    up = answer.runner_up
    assert up.host in takers(cluster, demand)
    assert up.host != answer.host
    for key, left in ((up.host, up.left), (answer.host, up.left_on_chosen)):
        free = free_on(cluster, key)
        assert (left.cpu, left.memory) == (free["cpu"] - demand.cpu, free["memory"] - demand.memory)
    if up.measure in ("left_over", "order", "distance", "soft_cost") and algorithm != "next_fit":
        assert up.chosen <= up.value
    if up.measure in ("most_left", "share"):
        assert round(up.chosen, 9) >= round(up.value, 9)
    if up.measure == "utilisation":
        assert round(abs(up.chosen - 0.75), 9) <= round(abs(up.value - 0.75), 9)


@given(case=cases(), algorithm=ANY, seed=SEEDS, last=LAST)
@settings(max_examples=200)
def test_explaining_decides_as_without_it_and_changes_nothing(case, algorithm, seed, last):
    cluster, demand = case
    fleet = Fleet(cluster)
    before = fleet.cluster()
    answer = explain(fleet, demand, algorithm, seed=seed, last=last)
    assert fleet.cluster() == before
    decided = Placer(fleet).decide(demand, algorithm, seed=seed, last=last)
    assert answer == explain(Fleet(cluster), demand, algorithm, seed=seed, last=last)
    assert (answer.outcome, answer.why) == (
        "placed" if isinstance(decided, Placed) else "refused",
        decided.why,
    )
    if isinstance(decided, Placed):
        assert (answer.host, len(answer.moves)) == (decided.host, len(decided.moves))
        assert decided.moves or (answer.runner_up and answer.runner_up.host) == decided.runner_up
    assert answer.searched == decided.searched
