"""Clusters, demands and changes drawn by hypothesis, with everything that a rule can speak of."""

import msgspec
from hypothesis import strategies as st
from placement_plain import GROUPED, allowed, has_room, some_nodes

from hpgreedy.model import Claim, Cluster, Demand, Host, HostState, Node, Rule, RuleKind
from hpgreedy.placement import ALGORITHMS

NOWHERE: frozenset[str] = frozenset()
LAN = frozenset({"lan"})
HOSTS = ("h0", "h1", "h2", "h3", "h4")


def pick(draw, usual, *others, odds=14):
    """`usual` most of the time, so that not every rule rejects at once."""
    return draw(st.sampled_from([usual] * odds + list(others)))


def draw_rule(draw):
    kind = draw(st.sampled_from(list(RuleKind)))
    hard = draw(st.booleans())
    weight = 1.0 if hard else draw(st.sampled_from([1.0, 0.1, 0.2, 0.3, 2.0]))
    if kind in GROUPED:
        group, scope = draw(st.sampled_from("gh")), draw(st.sampled_from(["host", "rack", "zone"]))
        return Rule(kind=kind, group=group, scope=scope, hard=hard, weight=weight)
    spoken = draw(st.sampled_from([("h0", "h1", "h2"), ("h1", "unknown"), {"rack": "r1"}, {"zone": "a"}]))
    if isinstance(spoken, dict):
        return Rule(kind=kind, labels=frozenset(spoken.items()), hard=hard, weight=weight)
    return Rule(kind=kind, hosts=frozenset(spoken), hard=hard, weight=weight)


def draw_demand(draw, key, most):
    return Demand(
        key=key,
        cpu=draw(st.integers(1, max(1, most // 2))),
        memory=draw(st.integers(1, most)),
        resources=pick(draw, {}, {"gpu": 1}, {"disk": 2}, {"gpu": 1, "disk": 1}, {"fpga": 1}, odds=20),
        host_labels=pick(draw, {}, {"zone": "a"}, {"rack": "r1", "zone": "b"}),
        wanted_host=pick(draw, None, "h0", "h1"),
        pinned=pick(draw, False, True),
        bridges=pick(draw, NOWHERE, frozenset({"br0"})),
        networks=pick(draw, NOWHERE, LAN),
        pool=pick(draw, None, "ssd"),
        cpu_model=pick(draw, None, "Skylake"),
        accelerator=pick(draw, None, "kvm"),
        group=draw(st.sampled_from([None, None, "g", "h"])),
        rules=tuple(draw_rule(draw) for _ in range(pick(draw, 0, 1, 1, 2, odds=3))),
        numa=pick(draw, 0, 1, 2, odds=4),
    )


def draw_host(draw, key):
    cpu, memory = draw(st.integers(5, 12)), draw(st.integers(7, 15))
    labels = {name: draw(st.sampled_from(["a", "b", ""])) for name in ("zone", "rack")}
    labels["rack"] = labels["rack"] and {"a": "r1", "b": "r2"}[labels["rack"]]
    half = Node(cpu=cpu // 2, memory=memory // 2)
    return Host(
        key=key,
        cpu=cpu,
        memory=memory,
        cpu_overcommit=pick(draw, 1.0, 1.5, 2.3),
        memory_overcommit=pick(draw, 1.0, 1.1),
        reserve_cpu=pick(draw, 0, 1),
        reserve_memory=pick(draw, 0, 2),
        labels={name: value for name, value in labels.items() if value},
        resources=pick(draw, {}, {"gpu": 2}, {"disk": 4}, {"gpu": 1, "disk": 3}, odds=3),
        numa=pick(draw, (half, half), (), (half,), odds=3),
        state=pick(draw, HostState.UP, HostState.DRAINING, HostState.UNREACHABLE, HostState.DOWN, odds=15),
        networks=pick(draw, None, LAN, NOWHERE, odds=3),
        bridges=pick(draw, None, frozenset({"br0", "br1"}), NOWHERE, odds=3),
        pools=pick(draw, None, frozenset({"ssd"}), NOWHERE, odds=3),
        cpu_models=pick(draw, None, frozenset({"Skylake", "Nehalem"}), NOWHERE, odds=3),
        accelerator=pick(draw, "", "kvm", "qemu", odds=3),
        names_taken=pick(draw, NOWHERE, frozenset({"v1", "new"})),
    )


def draw_claim(draw, cluster, key, most=5):
    """A claim on a host that takes it, or at least has room, else on one that is not there."""
    demand = draw_demand(draw, key, most)
    takes = pick(draw, allowed, has_room, odds=5)
    first = draw(st.integers(0, len(cluster.hosts)))
    for host in [*list(cluster.hosts)[first:], *list(cluster.hosts)[:first]]:
        if takes(cluster, host, demand):
            nodes = some_nodes(cluster, host, demand)
            return Claim(demand=demand, host=host, movable=pick(draw, True, False), numa_nodes=nodes)
    return Claim(demand=demand, host="gone")


def draw_cluster(draw, hosts, vms):
    """Hosts that are full without being overfull; a VM in ten stands on two."""
    cluster = Cluster({key: draw_host(draw, key) for key in HOSTS[: draw(hosts)]})
    for n in range(draw(vms)):
        claim = draw_claim(draw, cluster, f"v{n}")
        cluster = cluster.with_claim(claim)
        if pick(draw, False, True):
            for host in cluster.hosts:
                if allowed(cluster, host, claim.demand.unbound()):
                    nodes = some_nodes(cluster, host, claim.demand)
                    other = Claim(demand=claim.demand, host=host, movable=False, numa_nodes=nodes)
                    cluster = cluster.with_claim(other)
                    break
    return cluster


@st.composite
def clusters(draw):
    return draw_cluster(draw, st.sampled_from([1, 2, 3, 3, 4, 4, 5]), st.integers(0, 9))


@st.composite
def new_demands(draw):
    return draw_demand(draw, "new", 8)


@st.composite
def preferring(draw):
    """Roomy hosts with groups on them, and a VM that has soft rules alone."""
    hosts = {
        key: Host(key=key, cpu=99, memory=99, labels={"rack": draw(st.sampled_from(["r1", "r2", "r3"]))})
        for key in HOSTS
    }
    claims = [
        Claim(
            demand=Demand(key=f"v{n}", cpu=1, memory=1, group=draw(st.sampled_from("gh"))),
            host=draw(st.sampled_from(HOSTS)),
        )
        for n in range(draw(st.integers(0, 8)))
    ]
    rules = (msgspec.structs.replace(draw_rule(draw), hard=False) for _ in range(draw(st.integers(1, 4))))
    group = draw(st.sampled_from([None, "g"]))
    return Cluster(hosts, tuple(claims)), Demand(key="new", cpu=1, memory=1, group=group, rules=tuple(rules))


@st.composite
def tight(draw):
    """Nearly full hosts and a VM that is a little too large for all of them: a move often helps."""
    hosts = {f"h{n}": Host(key=f"h{n}", cpu=99, memory=10) for n in range(draw(st.integers(2, 4)))}
    claims: list[Claim] = []
    for host in hosts:
        left = draw(st.integers(6, 10))
        while left > 0:
            memory = min(left, draw(st.integers(1, 6)))
            left -= memory
            vm = Demand(key=f"v{len(claims)}", cpu=1, memory=memory, pinned=pick(draw, False, True))
            claims.append(Claim(demand=vm, host=host, movable=pick(draw, True, False)))
    cluster = Cluster(hosts, tuple(claims))
    most = max(10 - cluster.used(host).memory for host in hosts)
    return cluster, Demand(key="new", cpu=1, memory=most + draw(st.integers(1, 3)))


ANY = st.sampled_from(sorted(ALGORITHMS))
NEW = new_demands()
CASES = st.one_of(st.tuples(clusters(), NEW), tight())
SEEDS = st.integers(0, 9)
LAST = st.sampled_from([None, "h0", "h1", "h2", "gone"])
