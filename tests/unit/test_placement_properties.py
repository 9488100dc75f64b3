"""What holds for every cluster; the rules are written down here a second time, in the plainest way."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from hpgreedy.model import Claim, Cluster, Demand, Host, HostState
from hpgreedy.placement import ALGORITHMS, NotPlaced, Placed, Reason, decide

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


def single_moves(cluster, demand):
    """All (memory, vm, source, target) that make room, by trying everything."""
    found = set()
    for claim in cluster.claims:
        if not claim.movable or claim.demand.pinned:
            continue
        source = cluster.hosts[claim.host]
        if not allowed(source, held_on(cluster, source.key, {claim.demand.key}), demand):
            continue
        for target in cluster.hosts.values():
            if target.key == source.key:
                continue
            if allowed(target, held_on(cluster, target.key), claim.demand, bound=False):
                found.add((claim.demand.memory, claim.demand.key, source.key, target.key))
    return found


ANY = st.sampled_from(sorted(ALGORITHMS))
NEW = new_demands()


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.tuples(clusters(), NEW), tight()), ANY)
def test_what_is_placed_fits_at_every_step(case, algorithm):
    cluster, demand = case
    answer = decide(cluster, demand, algorithm)
    if isinstance(answer, NotPlaced):
        return
    left = set()
    for move in answer.moves:
        claim = next(c for c in cluster.claims if (c.demand.key, c.host) == (move.vm, move.source))
        assert claim.movable
        assert not claim.demand.pinned
        assert move.source != move.target
        assert move.memory == claim.demand.memory
        # Before the new VM starts, and with both ends held.
        assert allowed(cluster.hosts[move.target], held_on(cluster, move.target), claim.demand, bound=False)
        left.add(move.vm)
    arrived = [
        c.demand
        for c in cluster.claims
        for m in answer.moves
        if c.demand.key == m.vm and m.target == answer.host
    ]
    host = cluster.hosts[answer.host]
    assert allowed(host, held_on(cluster, answer.host, left) + arrived, demand)
    assert len(answer.moves) <= (1 if algorithm == "greedy" else 0)


@settings(max_examples=150, deadline=None)
@given(clusters(), NEW, ANY)
def test_what_is_refused_fits_nowhere(cluster, demand, algorithm):
    answer = decide(cluster, demand, algorithm)
    direct = [key for key, host in cluster.hosts.items() if allowed(host, held_on(cluster, key), demand)]
    if isinstance(answer, Placed):
        if answer.moves:
            assert not direct
        else:
            assert answer.host in direct
            assert answer.runner_up in direct or (answer.runner_up is None and len(direct) == 1)
        assert {r.host for r in answer.rejections} == set(cluster.hosts) - set(direct)
    else:
        assert not direct
        assert [r.host for r in answer.rejections] == list(cluster.hosts)


@settings(max_examples=250, deadline=None)
@given(st.one_of(st.tuples(clusters(), NEW), tight()))
def test_greedy_refuses_only_when_no_move_helps_and_else_takes_the_cheapest(case):
    cluster, demand = case
    answer = decide(cluster, demand, "greedy")
    moves = single_moves(cluster, demand)
    if isinstance(answer, NotPlaced):
        assert not moves
    elif answer.moves:
        (move,) = answer.moves
        assert (move.memory, move.vm, move.source, move.target) in moves
        assert move.memory == min(moves)[0]
        assert answer.host == move.source


@settings(max_examples=100, deadline=None)
@given(clusters(), NEW, ANY)
def test_a_rejection_tells_the_truth(cluster, demand, algorithm):
    for rejection in decide(cluster, demand, algorithm).rejections:
        host, held = cluster.hosts[rejection.host], held_on(cluster, rejection.host)
        if rejection.reason is Reason.CPU:
            assert rejection.have == int(host.cpu_capacity) - sum(d.cpu for d in held) < demand.cpu
        elif rejection.reason is Reason.MEMORY:
            assert rejection.have == host.memory - sum(d.memory for d in held) < demand.memory
        elif rejection.reason is Reason.STATE:
            assert host.state is not HostState.UP
        elif rejection.reason is Reason.LABEL:
            assert any(host.labels.get(k) != v for k, v in demand.host_labels.items())
        assert "\n" not in rejection.sentence()


@settings(max_examples=100, deadline=None)
@given(clusters(), NEW)
def test_ever_means_that_an_empty_host_would_do(cluster, demand):
    answer = decide(cluster, demand)
    if isinstance(answer, NotPlaced):
        possible = []
        for host in cluster.hosts.values():
            bare = Host(
                key=host.key, cpu=host.cpu, memory=host.memory, cpu_overcommit=host.cpu_overcommit,
                labels=host.labels, resources=host.resources, networks=host.networks, bridges=host.bridges,
            )  # fmt: skip
            possible.append(allowed(bare, [], demand))
        assert answer.ever == any(possible)


@settings(max_examples=100, deadline=None)
@given(clusters(), NEW, ANY, st.randoms(use_true_random=False))
def test_the_answer_depends_on_nothing_but_the_values(cluster, demand, algorithm, chance: random.Random):
    again = Cluster(dict(cluster.hosts), tuple(cluster.claims))
    assert decide(again, demand, algorithm) == decide(cluster, demand, algorithm)
    shuffled = list(cluster.claims)
    chance.shuffle(shuffled)
    other = decide(Cluster(cluster.hosts, tuple(shuffled)), demand, algorithm)
    first = decide(cluster, demand, algorithm)
    assert type(other) is type(first)
    if isinstance(first, Placed) and isinstance(other, Placed):
        assert sum(m.memory for m in other.moves) == sum(m.memory for m in first.moves)
