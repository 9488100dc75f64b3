"""Each rule by itself: what it lets pass, what it rejects, and in which words."""

import pytest

from hpgreedy.model import Claim, Cluster, Demand, Host, HostState, Node, Rule, RuleKind
from hpgreedy.placement import Fleet, NotPlaced, Placed, Reason, check, decide

HOST = Host(
    key="h1",
    cpu=4,
    memory=16384,
    cpu_overcommit=2,
    labels={"zone": "a"},
    resources={"gpu": 2},
    bridges=frozenset({"br0"}),
    networks=frozenset({"lan"}),
    pools=frozenset({"ssd"}),
    cpu_models=frozenset({"Nehalem", "Skylake"}),
    accelerator="qemu",
    names_taken=frozenset({"legacy"}),
)
HELD = Claim(demand=Demand(key="old", cpu=6, memory=12800, resources={"gpu": 1}), host="h1", movable=False)
CLUSTER = Cluster({"h1": HOST}, (HELD,))


def fits(cluster, demand, host):
    fleet = Fleet(cluster)
    return check(fleet, demand, fleet.position[host])


def demand(**changes):
    return Demand(**{"key": "new", "cpu": 2, "memory": 3584, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"resources": {"gpu": 1}},
        {"host_labels": {"zone": "a"}},
        {"bridges": frozenset({"br0"}), "networks": frozenset({"lan"})},
        {"wanted_host": "h1"},
        {"pool": "ssd", "cpu_model": "Skylake"},
        {"rules": (Rule(kind=RuleKind.NEAR, hosts=frozenset({"h1", "h9"})),)},
        {"rules": (Rule(kind=RuleKind.AVOID, labels=frozenset({("zone", "b")})),)},
        {"rules": (Rule(kind=RuleKind.NEAR, hosts=frozenset({"h9"}), hard=False),)},
    ],
)
def test_what_just_fits_passes(changes):
    assert fits(CLUSTER, demand(**changes), "h1") is None


@pytest.mark.parametrize(
    ("changes", "reason", "need", "have", "sentence"),
    [
        ({"cpu": 3}, Reason.CPU, 3, 2, "h1: cpu: needs 3, 2 free of 8"),
        ({"memory": 3585}, Reason.MEMORY, 3585, 3584, "h1: memory: needs 3585MiB, 3.5GiB free of 16GiB"),
        ({"memory": 8192}, Reason.MEMORY, 8192, 3584, "h1: memory: needs 8GiB, 3.5GiB free of 16GiB"),
        ({"resources": {"gpu": 2}}, Reason.RESOURCE, 2, 1, "h1: resource: needs 2 gpu, 1 free of 2"),
        ({"resources": {"fpga": 1}}, Reason.RESOURCE, 1, 0, "h1: resource: needs 1 fpga, it has none"),
        ({"host_labels": {"zone": "b"}}, Reason.LABEL, None, None, "h1: label: needs zone=b, it has zone=a"),
        ({"host_labels": {"ssd": "y"}}, Reason.LABEL, None, None, "h1: label: needs ssd=y, it has no ssd"),
        ({"wanted_host": "h2"}, Reason.NAMED_HOST, None, None, "h1: named host: it must start on h2"),
        (
            {"key": "legacy"},
            Reason.NAME_TAKEN,
            None,
            None,
            "h1: name taken: a domain that is not ours is named legacy there",
        ),
        (
            {"bridges": frozenset({"br0", "br1"})},
            Reason.BRIDGE,
            None,
            None,
            "h1: bridge: it has no bridge br1",
        ),
        ({"networks": frozenset({"wan"})}, Reason.NETWORK, None, None, "h1: network: it has no network wan"),
        (
            {"pool": "hdd"},
            Reason.POOL,
            None,
            None,
            "h1: pool: it has no storage pool hdd",
        ),
        (
            {"cpu_model": "EPYC"},
            Reason.CPU_MODEL,
            None,
            None,
            "h1: cpu model: needs EPYC, it offers Nehalem; Skylake",
        ),
        (
            {"accelerator": "kvm"},
            Reason.ACCELERATOR,
            None,
            None,
            "h1: accelerator: the VM was made under kvm, it runs guests by qemu",
        ),
        (
            {"rules": (Rule(kind=RuleKind.NEAR, hosts=frozenset({"h8", "h9"})),)},
            Reason.NEAR,
            None,
            None,
            "h1: near: it must be near h8; h9",
        ),
        (
            {"rules": (Rule(kind=RuleKind.AVOID, labels=frozenset({("zone", "a")})),)},
            Reason.AVOID,
            None,
            None,
            "h1: avoid: it must avoid zone=a",
        ),
        ({"numa": 1}, Reason.NUMA, 1, 0, "h1: numa: needs 1 NUMA node, it has none to tell"),
        (
            {"key": "old", "cpu": 1, "memory": 1},
            Reason.ALREADY_THERE,
            None,
            None,
            "h1: already there: it stands there, or an operation holds room there for it",
        ),
    ],
)
def test_what_does_not_fit_is_rejected_with_numbers_and_words(changes, reason, need, have, sentence):
    rejection = fits(CLUSTER, demand(**changes), "h1")
    assert rejection is not None
    assert (rejection.reason, rejection.need, rejection.have) == (reason, need, have)
    assert rejection.sentence() == sentence


@pytest.mark.parametrize("state", [HostState.DRAINING, HostState.UNREACHABLE, HostState.DOWN])
@pytest.mark.parametrize("algorithm", ["first_fit", "best_fit", "greedy"])
def test_only_a_host_that_is_up_takes_vms(state, algorithm):
    host = Host(key="h1", cpu=4, memory=4096, state=state, problem="silent for 12 s")
    answer = decide(Cluster({"h1": host}), demand(), algorithm)
    assert isinstance(answer, NotPlaced)
    assert answer.ever
    assert answer.rejections[0].sentence() == f"h1: state: it is {state} (silent for 12 s)"
    assert answer.why.startswith("no host is up")


def test_a_host_that_holds_more_than_it_has_shows_nothing_free():
    shrunk = Host(key="h1", cpu=1, memory=1024)
    rejection = fits(Cluster({"h1": shrunk}, (HELD,)), demand(), "h1")
    assert rejection is not None
    assert rejection.have == 0


def test_a_vm_that_stands_somewhere_is_placed_elsewhere_with_both_ends_held():
    moving = Claim(demand=Demand(key="m", cpu=1, memory=1024), host="h1")
    hosts = {key: Host(key=key, cpu=4, memory=4096) for key in ("h1", "h2")}
    answer = decide(Cluster(hosts, (moving,)), moving.demand)
    assert isinstance(answer, Placed)
    assert answer.host == "h2"
    assert answer.moves == ()


def racks(*claims, **more):
    """h1 and h2 in rack r1, h3 in r2, h4 in none."""
    labels = {"h1": "r1", "h2": "r1", "h3": "r2", "h4": None}
    hosts = {
        key: Host(key=key, cpu=9, memory=9, labels={"rack": rack} if rack else {}, **more)
        for key, rack in labels.items()
    }
    return Cluster(
        hosts,
        tuple(
            Claim(demand=Demand(key=f"v{n}", cpu=1, memory=1, group=group, rules=rules), host=on)
            for n, (on, group, rules) in enumerate(claims)
        ),
    )


def rule(kind, group="web", scope="host", **more):
    return Rule(kind=RuleKind(kind), group=group, scope=scope, **more)


def passes(cluster, **more):
    vm = Demand(key="new", cpu=1, memory=1, **more)
    return [key for key in cluster.hosts if fits(cluster, vm, key) is None]


@pytest.mark.parametrize(
    ("own", "held", "expected"),
    [
        (rule("apart"), [("h1", "web", ())], ["h2", "h3", "h4"]),
        (rule("apart", scope="rack"), [("h1", "web", ())], ["h3"]),
        (rule("apart", scope="rack"), [("h4", "web", ())], ["h1", "h2", "h3"]),
        (rule("apart"), [("h1", "db", ()), ("h2", None, ())], ["h1", "h2", "h3", "h4"]),
        (rule("together"), [("h1", "web", ())], ["h1"]),
        (rule("together", scope="rack"), [("h1", "web", ())], ["h1", "h2"]),
        (rule("together", scope="rack"), [("h1", "web", ()), ("h3", "web", ())], []),
        (rule("together"), [], ["h1", "h2", "h3", "h4"]),
        (rule("together", scope="rack"), [], ["h1", "h2", "h3"]),
        (rule("apart", hard=False), [("h1", "web", ())], ["h1", "h2", "h3", "h4"]),
    ],
)
def test_a_newcomers_rule_about_a_group(own, held, expected):
    assert passes(racks(*held), rules=(own,)) == expected


@pytest.mark.parametrize(
    ("placed", "expected"),
    [
        (rule("apart"), ["h2", "h3", "h4"]),
        (rule("apart", scope="rack"), ["h3", "h4"]),
        (rule("together"), ["h1"]),
        (rule("together", scope="rack"), ["h1", "h2"]),
        (rule("apart", hard=False), ["h1", "h2", "h3", "h4"]),
    ],
)
def test_a_placed_vms_rule_holds_against_newcomers_of_the_group_it_speaks_of(placed, expected):
    cluster = racks(("h1", None, (placed,)))
    assert passes(cluster, group="web") == expected
    assert passes(cluster, group="db") == passes(cluster) == ["h1", "h2", "h3", "h4"]


def test_a_broken_group_rule_names_the_host_it_is_broken_with():
    cluster = racks(("h1", "web", ()))
    apart = Demand(key="new", cpu=1, memory=1, rules=(rule("apart", scope="rack"),))
    together = Demand(key="new", cpu=1, memory=1, rules=(rule("together"),))
    said = [
        rejection.sentence()
        for vm, host in ((apart, "h1"), (apart, "h2"), (apart, "h4"), (together, "h2"))
        if (rejection := fits(cluster, vm, host)) is not None
    ]
    assert said == [
        "h1: apart: group web is to be kept apart, and a VM of it stands there",
        "h2: apart: group web is to be kept apart, and a VM of it stands on h1, in the same rack",
        "h4: apart: its rule speaks of one rack, and it has no label rack",
        "h2: together: group web is to be kept together in one host, and stands on h1",
    ]


def test_a_vms_own_place_does_not_bind_it_while_it_moves():
    spread = (rule("apart", scope="rack"), rule("together", group="db"))
    cluster = racks(("h1", "web", spread), ("h1", "db", ()))
    moving = cluster.claims[0].demand
    assert [key for key in cluster.hosts if fits(cluster, moving, key) is None] == []
    alone = cluster.without("v1")
    assert [key for key in alone.hosts if fits(alone, moving, key) is None] == ["h2", "h3"]


def choice(cluster, *rules, algorithm="first_fit"):
    answer = decide(cluster, Demand(key="new", cpu=1, memory=1, rules=rules), algorithm)
    return answer.host if isinstance(answer, Placed) else None


def test_soft_rules_come_before_the_algorithm_and_weights_against_each_other():
    avoid = Rule(kind=RuleKind.AVOID, hosts=frozenset({"h1", "h2"}), hard=False)
    near = Rule(kind=RuleKind.NEAR, hosts=frozenset({"h2"}), hard=False, weight=0.5)
    assert choice(racks()) == "h1"
    assert choice(racks(), avoid) == "h3"
    assert choice(racks(), near) == "h2"
    assert choice(racks(), avoid, near) == "h3"
    assert choice(racks(), avoid, Rule(kind=near.kind, hosts=near.hosts, hard=False, weight=1.5)) == "h2"


def test_soft_apart_counts_each_vm_of_the_group_so_that_it_spreads():
    held = [("h1", "web", ()), ("h2", "web", ()), ("h1", "web", ()), ("h3", "web", ()), ("h4", "web", ())]
    assert choice(racks(*held), rule("apart", hard=False)) == "h2"
    assert choice(racks(*held), rule("apart", scope="rack", hard=False)) == "h3"


def test_soft_together_counts_each_vm_of_the_group_elsewhere():
    held = [("h1", "web", ()), ("h3", "web", ()), ("h2", "web", ()), ("h3", "web", ())]
    assert choice(racks(*held), rule("together", hard=False)) == "h3"
    assert choice(racks(*held, ("h1", "web", ())), rule("together", scope="rack", hard=False)) == "h1"
    assert choice(racks(*held[1:]), rule("together", scope="rack", hard=False)) == "h3"


def test_weights_that_add_up_to_the_same_are_the_same():
    def avoid(host, weight):
        return Rule(kind=RuleKind.AVOID, hosts=frozenset({host}), hard=False, weight=weight)

    broken = [avoid("h1", 0.1), avoid("h1", 0.2), avoid("h2", 0.3), avoid("h3", 0.3), avoid("h4", 0.3)]
    assert choice(racks(), *broken) == choice(racks(), *reversed(broken)) == "h1"


def numa(*claims, reserve=0):
    host = Host(
        key="h1", cpu=8, memory=16, reserve_cpu=reserve, cpu_overcommit=1.5, numa=(Node(cpu=4, memory=8),) * 2
    )
    held = (
        Claim(
            demand=Demand(key=f"v{n}", cpu=cpu, memory=memory, numa=len(nodes)), host="h1", numa_nodes=nodes
        )
        for n, (cpu, memory, nodes) in enumerate(claims)
    )
    return Cluster({"h1": host}, tuple(held))


def nodes_for(cluster, cpu, memory, wanted):
    answer = decide(cluster, Demand(key="new", cpu=cpu, memory=memory, numa=wanted), "first_fit")
    return answer.numa_nodes if isinstance(answer, Placed) else None


def test_a_vm_fits_inside_its_nodes_or_not_at_all():
    assert nodes_for(numa(), 6, 8, 1) == (0,)
    assert nodes_for(numa(), 7, 8, 1) is None
    assert nodes_for(numa(), 7, 8, 2) == (0, 1)
    assert nodes_for(numa((1, 7, (0,)), (1, 1, (1,))), 1, 2, 1) == (1,)
    assert nodes_for(numa((1, 5, (0,)), (1, 1, (1,))), 1, 2, 1) == (0,)
    assert nodes_for(numa((1, 7, (0,))), 2, 3, 2) is None
    assert nodes_for(numa(), 2, 3, 3) is None


def test_vcpus_free_on_one_node_and_memory_on_another_are_no_room():
    cluster = numa((6, 1, (0,)), (1, 8, (1,)))
    rejection = fits(cluster, Demand(key="new", cpu=2, memory=2, numa=1), "h1")
    assert rejection is not None
    assert (rejection.reason, rejection.need, rejection.have) == (Reason.NUMA, 1, 0)
    assert rejection.detail == "needs 2 cpus with 2MiB on each of 1 NUMA node, 0 of 2 have it"
    assert nodes_for(cluster, 2, 2, 1) is None


def test_a_vm_that_floats_takes_of_no_node_and_of_the_host():
    cluster = numa((11, 12, ()))
    assert nodes_for(cluster, 1, 4, 1) == (0,)
    assert nodes_for(cluster, 2, 4, 1) is None


def test_the_reserve_is_taken_off_before_overcommit():
    assert nodes_for(numa(reserve=2), 9, 1, 0) == ()
    assert nodes_for(numa(reserve=2), 10, 1, 0) is None
