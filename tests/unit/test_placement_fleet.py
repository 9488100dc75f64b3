"""A fleet that is changed step by step equals one that is made anew, in every mask, amount and answer."""

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from placement_cases import HOSTS, clusters, draw_claim, draw_demand, draw_host, pick
from placement_plain import free_nodes, free_on, offered

from hpgreedy.model import Claim, Cluster, Demand, Host
from hpgreedy.placement import ALGORITHMS, Fleet, Placed, Placer, feasible
from hpgreedy.placement.fleet.column import KEPT, Column
from hpgreedy.placement.fleet.masks import as_array, lowest, of_truths, positions
from hpgreedy.placement.fleet.order import Order

STAYING = st.sampled_from(sorted(name for name, each in ALGORITHMS.items() if not each.makes_room))
AMOUNTS = range(-1, 13, 2)
NAMES = ("gpu", "disk", "fpga")
GROUPS = ("g", "h")
FEATURES = {
    "label": [("zone", "a"), ("zone", "b"), ("rack", "r1"), ("rack", "r2")],
    "labelled": [("zone",), ("rack",)],
    "network": [("lan",)],
    "bridge": [("br0",), ("br1",)],
    "pool": [("ssd",)],
    "cpu_model": [("Skylake",), ("Haswell",)],
    "accelerator": [("kvm",), ("qemu",)],
    "foreign": [("v1",), ("new",)],
}


def keys(fleet, mask):
    return {host.key for n, host in fleet.standing_hosts() if mask >> n & 1}


def named(fleet, by_position):
    return {fleet.hosts[position].key: count for position, count in by_position.items()}


def rows_of(fleet):
    """The columns of which something is offered or held."""
    rows = {"cpu": 0, "memory": 1} | fleet.row
    columns = {name: fleet.columns[row] for name, row in rows.items()}
    return {name: column for name, column in columns.items() if any(column.values) or any(column.capacity)}


def ask(fleet, demands):
    """The masks, which are kept from now on."""
    everything, nodes = fleet.everything, fleet.with_nodes
    return {
        "feasible": [keys(fleet, feasible(fleet, demand)) for demand in demands],
        "masks": {
            (name, amount): keys(fleet, column.at_least(amount) & everything)
            for name, column in rows_of(fleet).items()
            for amount in AMOUNTS
        },
        "numa masks": [
            keys(fleet, column.at_least(amount) & nodes)
            for count in (1, 2)
            for column in fleet.numa_columns(count)
            for amount in AMOUNTS
        ],
    }


def shown(fleet, demands):
    """All that can be asked of a fleet, without positions."""
    cluster = fleet.cluster()
    standing = {host.key: n for n, host in fleet.standing_hosts()}
    assert fleet.everything == sum(1 << n for n in standing.values())
    assert fleet.up & ~fleet.everything == fleet.with_nodes & ~fleet.everything == 0
    vms = sorted({claim.demand.key for claim in cluster.claims})
    return ask(fleet, demands) | {
        "hosts": list(cluster.hosts.values()),
        "claims": sorted(cluster.claims, key=lambda claim: (claim.host, claim.demand.key)),
        "up": keys(fleet, fleet.up),
        "with nodes": keys(fleet, fleet.with_nodes),
        "used": {key: fleet.used(n) for key, n in standing.items()},
        "arrays": {
            name: ([int(column.array[n]) for n in standing.values()], column.largest)
            for name, column in rows_of(fleet).items()
        },
        "order": {key: fleet.fullness.keys[n] for key, n in standing.items()},
        "members": [named(fleet, fleet.members(group, vm)) for group in GROUPS for vm in ("new", *vms)],
        "watches": [
            {watch: {fleet.hosts[n].key for n in places} for watch, places in fleet.watches(group, vm)}
            for group in GROUPS
            for vm in ("new", *vms)
        ],
        "places": {vm: {fleet.hosts[n].key for n in fleet.places(vm)} for vm in vms},
        "features": {
            (kind, each): keys(fleet, getattr(fleet.features, kind)(*each))
            for kind, asked in FEATURES.items()
            for each in asked
        },
        "names": {kind: fleet.features.names(kind) for kind in FEATURES},
    }


def agrees_with_scan(fleet, cluster):
    """The same again, against plain sums over the cluster's claims."""
    largest: dict[str, int] = {}
    for host in cluster.hosts.values():
        for name, amount in offered(host).items():
            largest[name] = max(largest.get(name, 1), amount)
    for key, n in ((host.key, n) for n, host in fleet.standing_hosts()):
        free = free_on(cluster, key)
        assert [fleet.columns[row].values[n] for row in (0, 1)] == [free["cpu"], free["memory"]]
        assert all(fleet.free(n, name) == free.get(name, 0) for name in NAMES)
        assert fleet.fullness.keys[n] == sum(
            max(amount, 0) * 65536 // largest.get(name, 1) for name, amount in free.items()
        )
        if cluster.hosts[key].numa:
            assert list(zip(fleet.nodes[n].cpu, fleet.nodes[n].memory, strict=True)) == [
                tuple(node) for node in free_nodes(cluster, key)
            ]


class Plain:
    """The same changes made to a cluster value."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def put_host(self, host: Host) -> None:
        self.cluster = Cluster({**self.cluster.hosts, host.key: host}, self.cluster.claims)

    def remove_host(self, key: str) -> None:
        left = {each: host for each, host in self.cluster.hosts.items() if each != key}
        self.cluster = Cluster(left, self.cluster.claims)

    def add(self, claim: Claim) -> None:
        self.cluster = self.cluster.without(claim.demand.key, claim.host).with_claim(claim)

    def remove(self, vm: str, host: str) -> None:
        self.cluster = self.cluster.without(vm, host)


def change(draw, fleet, plain, n):
    """One change, made to both."""
    cluster = plain.cluster
    claims = [c for c in cluster.claims if c.host in cluster.hosts]
    kinds = ["host", "add"]
    kinds += ["lost"] if cluster.hosts else []
    kinds += ["remove", "move", "again"] if claims else []
    match draw(st.sampled_from(kinds)):
        case "host":
            host = draw_host(draw, draw(st.sampled_from([*HOSTS, "gone"])))
            for each in (fleet, plain):
                each.put_host(host)
        case "lost":
            key = draw(st.sampled_from(sorted(cluster.hosts)))
            for each in (fleet, plain):
                each.remove_host(key)
        case "add":
            claim = draw_claim(draw, cluster, f"n{n}")
            for each in (fleet, plain):
                each.add(claim)
        case "again":
            held = draw(st.sampled_from(claims))
            claim = msgspec.structs.replace(held, demand=draw_demand(draw, held.demand.key, 5), numa_nodes=())
            for each in (fleet, plain):
                each.add(claim)
        case "remove":
            held = draw(st.sampled_from(list(cluster.claims)))
            for each in (fleet, plain):
                each.remove(held.demand.key, held.host)
        case _:
            held = draw(st.sampled_from(claims))
            others = [key for key in cluster.hosts if key not in cluster.hosts_of(held.demand.key)]
            if others:
                target = draw(st.sampled_from(others))
                fleet.move(held.demand.key, held.host, target, held.numa_nodes)
                plain.remove(held.demand.key, held.host)
                plain.add(msgspec.structs.replace(held, host=target))


@st.composite
def histories(draw):
    """A cluster, changes, and VMs that are asked for all the while."""
    cluster = draw(clusters())
    fleet, plain = Fleet(cluster), Plain(cluster)
    demands = [draw_demand(draw, "new", 6), draw_demand(draw, pick(draw, "v1", "v0"), 6)]
    for n in range(draw(st.integers(1, 8))):
        ask(fleet, demands)
        change(draw, fleet, plain, n)
    return fleet, plain.cluster, demands


@settings(max_examples=200, deadline=None)
@given(histories())
def test_after_any_changes_the_fleet_is_as_if_made_anew(history):
    fleet, cluster, demands = history
    assert shown(fleet, demands) == shown(Fleet(cluster), demands)
    agrees_with_scan(fleet, cluster)


@settings(max_examples=150, deadline=None)
@given(histories(), STAYING, st.integers(0, 9), st.sampled_from(HOSTS))
def test_after_any_changes_the_decisions_are_those_of_a_fleet_made_anew(history, algorithm, seed, last):
    fleet, cluster, demands = history
    for demand in demands:
        answers = [
            Placer(each).decide(demand, algorithm, seed=seed, last=last) for each in (fleet, Fleet(cluster))
        ]
        assert answers[0] == answers[1]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-5, 200), min_size=1, max_size=9), st.randoms(use_true_random=False))
def test_a_column_is_exact_however_many_amounts_are_asked_for(values, chance: random.Random):
    column = Column(0)
    for n in range(len(values)):
        column.append()
        column.at_least(chance.randrange(-5, 210))
        column.put(n, 1 << n, values[n])
    for _ in range(4 * KEPT):
        n = chance.randrange(len(values))
        values[n] = chance.choice([values[n], chance.randrange(-5, 210)])
        column.put(n, 1 << n, values[n])
        asked = chance.choice([chance.randrange(-6, 212), chance.randrange(8)])
        exact = sum(1 << at for at, value in enumerate(values) if value >= asked)
        assert column.about(asked) & exact == exact
        assert column.at_least(asked) == exact
        assert column.array.tolist() == column.values == values


@given(st.lists(st.integers(0, 2**40 - 1), min_size=1, max_size=70), st.data())
def test_an_order_finds_the_least_and_the_greatest_of_any_hosts(values, data):
    order = Order(40, list(values[1:]))
    order.append()
    changed = [*values[1:], values[0]]
    order.put(len(values) - 1, 1 << len(values) - 1, values[0])
    mask = data.draw(st.integers(1, 2 ** len(values) - 1))
    chosen = [changed[n] for n in positions(mask)]
    assert order.keys == changed
    assert [changed[n] for n in positions(order.least(mask))] == [min(chosen)] * chosen.count(min(chosen))
    assert [changed[n] for n in positions(order.greatest(mask))] == [max(chosen)] * chosen.count(max(chosen))


@given(st.sets(st.integers(0, 300)))
def test_masks_and_positions_are_the_same_sets(members):
    mask = sum(1 << n for n in members)
    assert list(positions(mask)) == as_array(mask).tolist() == sorted(members)
    if members:
        assert lowest(mask) == min(members)
        truths = as_array((1 << max(members) + 1) - 1) < 0
        truths[sorted(members)] = True
        assert of_truths(truths) == mask


TIB = 1024 * 1024


@pytest.mark.parametrize("algorithm", ["best_fit", "worst_fit", "norm", "dot_product", "weight_balanced"])
def test_the_largest_amounts_are_counted_exactly(algorithm):
    hosts = {
        f"h{n}": Host(
            key=f"h{n}",
            cpu=4096,
            memory=64 * TIB,
            cpu_overcommit=1000.0,
            memory_overcommit=1000.0,
            resources={"disk": 2**53, "gpu": 1},
        )
        for n in range(3)
    }
    placer = Placer(Fleet(Cluster(hosts)))
    full = Demand(key="full", cpu=4096000, memory=64000 * TIB, resources={"disk": 2**53, "gpu": 1})
    small = Demand(key="small", cpu=1, memory=1, resources={"disk": 1})
    assert isinstance(placer.place(small, algorithm), Placed)
    placed = [placer.place(msgspec.structs.replace(full, key=f"f{n}"), algorithm) for n in range(3)]
    assert [isinstance(each, Placed) for each in placed] == [True, True, False]
    agrees_with_scan(placer.fleet, placer.fleet.cluster())


def test_a_resource_more_grows_the_order_by_the_bits_it_needs():
    names = [f"r{n}" for n in range(40)]
    hosts = {key: Host(key=key, cpu=1, memory=1, resources=dict.fromkeys(names, 5)) for key in ("a", "b")}
    fleet = Fleet(Cluster({"a": Host(key="a", cpu=1, memory=1)}))
    for host in hosts.values():
        fleet.put_host(host)
    fleet.add(Claim(demand=Demand(key="v", cpu=0, memory=0, resources={"r7": 1}), host="a"))
    answer = Placer(fleet).decide(Demand(key="new", cpu=1, memory=1), "worst_fit")
    assert isinstance(answer, Placed)
    assert answer.host == "b"
    agrees_with_scan(fleet, fleet.cluster())


def test_asking_for_what_nobody_has_changes_nothing():
    fleet = Fleet(Cluster({"a": Host(key="a", cpu=9, memory=9)}))
    for algorithm in ("weight_balanced", "norm", "best_fit"):
        asked = Demand(key="new", cpu=1, memory=1, resources={"fpga": 1})
        assert not isinstance(Placer(fleet).decide(asked, algorithm), Placed)
    assert fleet.row == {}


def test_the_scale_shrinks_with_the_largest_host():
    # Beside a host of 100 cpus, b leaves less; without it, memory decides and a does.
    a, b = Host(key="a", cpu=9, memory=5), Host(key="b", cpu=4, memory=9)
    fleet = Fleet(Cluster({"a": a, "b": b}))
    big = Host(key="big", cpu=100, memory=9, labels={"not": "this"})
    near = Demand(key="new", cpu=1, memory=1)
    alone = Placer(fleet).decide(near, "best_fit")
    fleet.put_host(big)
    fleet.put_host(msgspec.structs.replace(big, cpu=1))
    fleet.put_host(msgspec.structs.replace(big, cpu=200))
    fleet.remove_host("big")
    assert fleet.columns[0].largest == 9
    assert Placer(fleet).decide(near, "best_fit") == alone


def test_a_host_that_comes_back_is_the_last_to_have_joined():
    fleet = Fleet(Cluster({key: Host(key=key, cpu=9, memory=9) for key in "abc"}))
    fleet.remove_host("a")
    fleet.put_host(Host(key="a", cpu=9, memory=9))
    assert list(fleet.cluster().hosts) == ["b", "c", "a"]
    answer = Placer(fleet).decide(Demand(key="new", cpu=1, memory=1), "first_fit")
    assert isinstance(answer, Placed)
    assert (answer.host, answer.runner_up) == ("b", "c")


def test_reserved_room_is_held_and_not_to_be_moved():
    placer = Placer(Fleet(Cluster({key: Host(key=key, cpu=9, memory=9) for key in "ab"})))
    demand = Demand(key="new", cpu=1, memory=1)
    answer = placer.decide(demand)
    assert isinstance(answer, Placed)
    placer.reserve(demand, answer)
    assert list(placer.fleet.claims()) == [Claim(demand=demand, host="a", movable=False)]
