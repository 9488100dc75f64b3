"""Clusters and demands drawn by hypothesis, and the rules written down a second time, in the plainest way."""

from hypothesis import strategies as st

from hpgreedy.model import Claim, Cluster, Demand, Host, HostState
from hpgreedy.placement import ALGORITHMS

ATTACHED = frozenset({"br0", "br1"})
NOWHERE: frozenset[str] = frozenset()


def pick(draw, usual, *others):
    """`usual` most of the time, so that not every rule rejects at once."""
    return draw(st.sampled_from([usual] * 12 + list(others)))


def draw_demand(draw, key, most):
    return Demand(
        key=key,
        cpu=draw(st.integers(1, max(1, most // 2))),
        memory=draw(st.integers(1, most)),
        resources=pick(draw, {}, {"gpu": 1}),
        host_labels=pick(draw, {}, {"zone": "a"}, {"zone": "b"}, {"ssd": "y"}),
        wanted_host=pick(draw, None, "h0", "h1"),
        pinned=pick(draw, False, True),
        bridges=pick(draw, NOWHERE, frozenset({"br0"})),
        networks=pick(draw, NOWHERE, frozenset({"br1"})),
    )


def draw_host(draw, key):
    return Host(
        key=key,
        cpu=draw(st.integers(4, 10)),
        memory=draw(st.integers(6, 12)),
        cpu_overcommit=pick(draw, 1.0, 1.5, 2.3),
        labels=pick(draw, {"zone": "a"}, {"zone": "b"}, {}),
        resources=pick(draw, {}, {"gpu": 2}, {"gpu": 1}),
        state=pick(draw, HostState.UP, HostState.DRAINING, HostState.UNREACHABLE),
        networks=pick(draw, ATTACHED, NOWHERE),
        bridges=pick(draw, ATTACHED, NOWHERE),
        names_taken=pick(draw, NOWHERE, frozenset({"v1", "new"})),
    )


@st.composite
def clusters(draw):
    """Hosts that are full without being overfull: each VM goes to the first with room from one drawn."""
    hosts = {f"h{n}": draw_host(draw, f"h{n}") for n in range(draw(st.integers(1, 4)))}
    claims: list[Claim] = []
    for n in range(draw(st.integers(0, 8))):
        demand = draw_demand(draw, f"v{n}", 6)
        first = draw(st.integers(0, len(hosts) - 1))
        for key in [*list(hosts)[first:], *list(hosts)[:first]]:
            if has_room(hosts[key], [c.demand for c in claims if c.host == key], demand):
                claims.append(Claim(demand=demand, host=key, movable=pick(draw, True, False)))
                break
    return Cluster(hosts, tuple(claims))


@st.composite
def new_demands(draw):
    return draw_demand(draw, "new", 10)


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


def has_room(host, held, demand):
    total = [*held, demand]
    return (
        sum(d.cpu for d in total) <= round(host.cpu * host.cpu_overcommit, 6)
        and sum(d.memory for d in total) <= host.memory
        and all(
            sum(d.resources.get(name, 0) for d in total) <= host.resources.get(name, 0)
            for name in demand.resources
        )
    )


def allowed(host, held, demand, *, bound=True):
    return (
        host.state is HostState.UP
        and (not bound or demand.wanted_host in (None, host.key))
        and all(host.labels.get(k) == v for k, v in demand.host_labels.items())
        and demand.bridges <= host.bridges
        and demand.networks <= host.networks
        and demand.key not in host.names_taken
        and has_room(host, held, demand)
    )


def held_on(cluster, key, without=()):
    return [c.demand for c in cluster.claims if c.host == key and c.demand.key not in without]


def takers(cluster, demand):
    """The hosts that take the demand as they stand, in order of registration."""
    return [key for key, host in cluster.hosts.items() if allowed(host, held_on(cluster, key), demand)]


ANY = st.sampled_from(sorted(ALGORITHMS))
NEW = new_demands()
SEEDS = st.integers(0, 9)
LAST = st.sampled_from([None, "h0", "h1", "h2", "gone"])
