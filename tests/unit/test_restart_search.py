"""N+1: what is called restartable has an assignment, and n1 keeps a safe cluster safe."""

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from hpgreedy.model import Claim, Cluster, Demand, Host, HostState, Node, Rule, RuleKind
from hpgreedy.placement import Fleet, NotPlaced, Placed, Placer, Reason
from hpgreedy.placement.decision import Move
from hpgreedy.placement.restart import Admission, Loss, Restarts, admit
from hpgreedy.placement.restart.restarts import LOOKS

APART = (Rule(kind=RuleKind.APART, group="g"),)
TOGETHER = (Rule(kind=RuleKind.TOGETHER, group="t", scope="rack"),)
SHAPES = st.sampled_from(
    [
        {},
        {},
        {},
        {"host_labels": {"rack": "a"}},
        {"group": "g", "rules": APART},
        {"group": "t", "rules": TOGETHER},
        {"numa": 1},
        {"resources": {"gpu": 1}},
    ]
)
DEMANDS = st.builds(
    lambda cpu, memory, more: {"cpu": cpu, "memory": memory, **more},
    st.integers(1, 3),
    st.integers(1, 4),
    SHAPES,
)
HOSTS = st.builds(
    lambda rack, gpu, size: {
        "cpu": 6,
        "memory": size,
        "labels": {"rack": rack},
        "resources": {"gpu": gpu} if gpu else {},
        "numa": (Node(cpu=3, memory=size // 2), Node(cpu=3, memory=size // 2)),
    },
    st.sampled_from("ab"),
    st.sampled_from([0, 0, 2]),
    st.integers(4, 10),
)


def made(hosts, demands=()):
    """Hosts h0, h1, … and VMs v0, v1, … put by worst fit where they fit."""
    fleet = Fleet(Cluster({f"h{n}": Host(key=f"h{n}", **host) for n, host in enumerate(hosts)}))
    placer = Placer(fleet)
    for n, demand in enumerate(demands):
        placer.place(Demand(key=f"v{n}", **demand), "worst_fit")
    return fleet, placer


def kept(cluster):
    """Whether every host has room for its VMs and every rule between VMs is kept, in the plainest way."""
    for host in cluster.hosts.values():
        held = [claim for claim in cluster.claims if claim.host == host.key]
        demands = [claim.demand for claim in held]
        if sum(d.cpu for d in demands) > host.cpu or sum(d.memory for d in demands) > host.memory:
            return False
        if sum(d.resources.get("gpu", 0) for d in demands) > host.resources.get("gpu", 0):
            return False
        for n, node in enumerate(host.numa):
            there = [claim.demand for claim in held if n in claim.numa_nodes]
            if sum(d.cpu for d in there) > node.cpu or sum(d.memory for d in there) > node.memory:
                return False
        if any(host.labels.get(k) != v for d in demands for k, v in d.host_labels.items()):
            return False
        if sum(d.group == "g" for d in demands) > 1:
            return False
    racks = {
        cluster.hosts[claim.host].labels["rack"] for claim in cluster.claims if claim.demand.group == "t"
    }
    return len(racks) <= 1


def assignments(cluster, dead):
    """All ways to put the dead host's VMs on the others, with NUMA nodes, that break nothing."""
    lost = [claim.demand for claim in cluster.claims if claim.host == dead]
    others = [host for host in cluster.hosts.values() if host.key != dead and host.state is HostState.UP]
    rest = tuple(claim for claim in cluster.claims if claim.host != dead)
    places = [
        [(host.key, node) for host in others for node in (((0,), (1,)) if demand.numa else ((),))]
        for demand in lost
    ]
    for chosen in product(*places):
        claims = tuple(
            Claim(demand=demand, host=host, numa_nodes=nodes)
            for demand, (host, nodes) in zip(lost, chosen, strict=True)
        )
        after = Cluster(cluster.hosts, rest + claims)
        if kept(after):
            yield after


@settings(max_examples=150, deadline=None)
@given(st.lists(HOSTS, min_size=2, max_size=3), st.lists(DEMANDS, max_size=6))
def test_what_is_called_restartable_has_an_assignment(hosts, demands):
    fleet, _ = made(hosts, demands)
    cluster = fleet.cluster()
    assert kept(cluster)
    stranding = {loss.host for loss in Restarts(fleet).losses()}
    for key in cluster.hosts:
        if key not in stranding:
            assert next(assignments(cluster, key), None) is not None
    assert fleet.cluster() == cluster


@settings(max_examples=150, deadline=None)
@given(
    st.lists(HOSTS, min_size=2, max_size=4),
    st.lists(st.tuples(st.integers(0, 4), DEMANDS, st.integers(0, 9)), max_size=14),
)
def test_what_is_kept_is_as_true_as_a_new_look(hosts, history):
    fleet, placer = made(hosts)
    restarts = Restarts(fleet)
    for n, (what, demand, pick) in enumerate(history):
        claims = list(fleet.claims())
        if what <= 2 or not claims:
            placer.place(Demand(key=f"v{n}", **demand), "best_fit" if what else "worst_fit")
        elif what == 3:
            claim = claims[pick % len(claims)]
            fleet.remove(claim.demand.key, claim.host)
        else:
            host = fleet.hosts[pick % len(hosts)]
            state = HostState.DOWN if host.state is HostState.UP else HostState.UP
            fleet.put_host(Host(key=host.key, state=state, **hosts[pick % len(hosts)]))
        cluster = fleet.cluster()
        stranding = {loss.host for loss in restarts.losses()}
        for key in cluster.hosts:
            if key not in stranding:
                assert next(assignments(cluster, key), None) is not None
        # A set that was found to have homes may be one for which a new look finds none, never the reverse.
        assert stranding <= {loss.host for loss in Restarts(fleet).losses()}
        assert fleet.cluster() == cluster


@settings(max_examples=150, deadline=None)
@given(
    st.lists(HOSTS, min_size=2, max_size=3),
    st.lists(DEMANDS, max_size=7),
    st.sampled_from(["first_fit", "best_fit", "greedy", "worst_fit"]),
)
def test_n1_keeps_a_safe_cluster_safe(hosts, demands, algorithm):
    fleet, placer = made(hosts)
    restarts = Restarts(fleet)
    for n, more in enumerate(demands):
        demand = Demand(key=f"v{n}", **more)
        before = fleet.cluster()
        answer = admit(placer, restarts, Admission.N1, demand, algorithm).answer
        assert fleet.cluster() == before
        if isinstance(answer, NotPlaced):
            plain = placer.decide(demand, algorithm)
            if isinstance(plain, Placed):
                reasons = {rejection.host: rejection.reason for rejection in answer.rejections}
                assert reasons[plain.host] is Reason.N1
            continue
        placer.commit(demand, answer)
        for key in hosts_of(fleet):
            assert next(assignments(fleet.cluster(), key), None) is not None


def hosts_of(fleet):
    return [host.key for _, host in fleet.standing_hosts()]


def pair(*memory):
    """Hosts of 8 cpus and that many GiB, and a placer."""
    return made([{"cpu": 8, "memory": each} for each in memory])


def vm(key, memory, **more):
    return Demand(key=key, cpu=1, memory=memory, **more)


def test_a_host_whose_vms_fit_elsewhere_is_no_loss_and_one_too_large_is():
    fleet, _ = pair(10, 10)
    fleet.add(Claim(demand=vm("a", 6), host="h0"))
    restarts = Restarts(fleet)
    assert restarts.losses() == ()
    fleet.add(Claim(demand=vm("b", 5), host="h1"))
    assert restarts.losses() == (Loss(host="h0", vms=("a",)), Loss(host="h1", vms=("b",)))
    assert restarts.losses()[0].sentence() == "if h0 died, a could not be restarted"
    fleet.remove("b", "h1")
    assert restarts.losses() == ()


def test_the_host_it_was_to_start_on_and_pins_do_not_bind_a_restart():
    fleet, _ = pair(10, 10)
    fleet.add(Claim(demand=vm("a", 6, wanted_host="h0", pinned=True), host="h0"))
    assert Restarts(fleet).losses() == ()


def test_other_orders_are_tried_before_vms_are_called_stranded():
    # 6+4 and 5+5 fill both hosts; largest first by best fit puts 6 on one and then 5, 5 on the other.
    fleet, _ = pair(20, 10, 10)
    for key, memory in (("a", 5), ("b", 5), ("c", 4), ("d", 6)):
        fleet.add(Claim(demand=vm(key, memory), host="h0"))
    assert Restarts(fleet).losses() == ()


def test_a_vm_that_is_being_moved_would_be_restarted_where_it_holds_room():
    fleet, _ = pair(10, 10)
    fleet.add(Claim(demand=vm("a", 10), host="h0", movable=False))
    fleet.add(Claim(demand=vm("a", 10), host="h1", movable=False))
    restarts = Restarts(fleet)
    assert restarts.losses() == ()
    fleet.put_host(Host(key="h1", cpu=8, memory=10, state=HostState.DOWN))
    assert Loss(host="h0", vms=("a",)) in restarts.losses()


def test_n1_takes_the_algorithms_next_host_that_keeps_it_and_says_so():
    fleet, placer = pair(6, 6, 12, 3)
    fleet.add(Claim(demand=vm("a", 5), host="h0"))
    fleet.add(Claim(demand=vm("big", 6), host="h2"))
    restarts = Restarts(fleet)
    assert restarts.losses() == ()
    demand = vm("new", 3)
    assert placer.decide(demand, "first_fit").host == "h1"
    answer = admit(placer, restarts, Admission.N1, demand, "first_fit").answer
    assert isinstance(answer, Placed)
    assert answer.host == "h2"
    assert "h1 would come first, but there: if h2 died, big could not be restarted" in answer.why


def test_n1_refuses_when_no_host_keeps_it_and_names_what_would_be_lost():
    fleet, placer = pair(10, 10)
    fleet.add(Claim(demand=vm("a", 6), host="h0"))
    restarts = Restarts(fleet)
    demand = vm("new", 5)
    answer = admit(placer, restarts, Admission.N1, demand, "first_fit").answer
    assert isinstance(answer, NotPlaced)
    assert [rejection.reason for rejection in answer.rejections] == [Reason.MEMORY, Reason.N1]
    assert "on h1, if h1 died, new could not be restarted; if h0 died, a could not be restarted" in answer.why
    warned = admit(placer, restarts, Admission.N1_WARN, demand, "first_fit")
    assert isinstance(warned.answer, Placed)
    assert warned.note.startswith("new goes to h1, and if h1 died, new could not be restarted")
    assert admit(placer, restarts, Admission.OFF, demand, "first_fit").note == ""


def test_a_refusal_by_n1_counts_one_more_host_as_one():
    fleet, placer = pair(10, 10)
    restarts = Restarts(fleet)
    for key, host in (("a", "h0"), ("b", "h1")):
        fleet.add(Claim(demand=vm(key, 5), host=host))
    answer = admit(placer, restarts, Admission.N1, vm("new", 1), "first_fit").answer
    assert isinstance(answer, NotPlaced)
    assert answer.why.endswith(", and 1 more host is no better")


def test_what_was_stranded_before_keeps_no_other_vm_out():
    fleet, placer = pair(10, 10, 10)
    fleet.add(Claim(demand=vm("huge", 10), host="h0"))
    fleet.add(Claim(demand=vm("b", 2), host="h1"))
    restarts = Restarts(fleet)
    assert Loss(host="h0", vms=("huge",)) not in restarts.losses()
    fleet.add(Claim(demand=vm("c", 2), host="h2"))
    assert restarts.losses() == (Loss(host="h0", vms=("huge",)),)
    assert isinstance(admit(placer, restarts, Admission.N1, vm("new", 2), "first_fit").answer, Placed)


def test_the_outcome_of_moves_is_judged_and_the_fleet_stays_as_it_was():
    fleet, _ = pair(10, 10, 10)
    for key, memory, host in (("a", 4, "h0"), ("b", 2, "h0"), ("c", 5, "h1")):
        fleet.add(Claim(demand=vm(key, memory), host=host))
    restarts = Restarts(fleet)
    before = fleet.cluster()
    move = Move(vm="a", source="h0", target="h2", memory=4)
    placed = Placed(host="h0", moves=(move,), algorithm="greedy")
    assert restarts.caused_by(vm("new", 8), placed) != ()
    assert restarts.caused_by(vm("new", 3), placed) == ()
    assert fleet.cluster() == before
    assert [claim.demand.key for claim in fleet.claims_on(0)] == ["a", "b"]


def test_a_change_elsewhere_counts_where_rules_speak_of_racks():
    rules = (Rule(kind=RuleKind.APART, group="g", scope="rack"),)
    racks = ((10, "x"), (10, "a"), (3, "a"))
    fleet, _ = made([{"cpu": 8, "memory": memory, "labels": {"rack": rack}} for memory, rack in racks])
    fleet.add(Claim(demand=vm("a", 5, group="g", rules=rules), host="h0"))
    restarts = Restarts(fleet)
    assert restarts.losses() == ()
    b = vm("b", 2, group="g", rules=rules)
    expected = Loss(host="h0", vms=("a",))
    assert expected in restarts.caused_by(b, Placed(host="h2", algorithm="first_fit"))
    fleet.add(Claim(demand=b, host="h2"))
    assert expected in restarts.losses()


def test_rules_have_only_hosts_looked_at_whose_vms_they_speak_of(monkeypatch):
    fleet, _ = pair(*([10] * 40))
    groups = [f"g{n}" for n in range(20)]
    for n in range(20):
        rules = (Rule(kind=RuleKind.APART, group=groups[n]),)
        fleet.add(Claim(demand=vm(f"v{n}", 1, group=groups[n], rules=rules), host=f"h{n}"))
    restarts = Restarts(fleet)
    assert restarts.losses() == ()
    looked = []
    worse = Restarts._worse
    monkeypatch.setattr(
        Restarts, "_worse", lambda self, at, *more: looked.append(at) or worse(self, at, *more)
    )
    demand = vm("new", 1, group="g3", rules=(Rule(kind=RuleKind.APART, group="g3"),))
    homes = {at for at in range(20) if 39 in restarts._hosts_of[at]}
    assert restarts.caused_by(demand, Placed(host="h39", algorithm="greedy")) == ()
    assert set(looked) == {3, 39} | homes
    assert len(looked) < 10


def test_on_a_large_fleet_every_host_is_looked_at_again_in_turn():
    fleet, _ = pair(*([10] * (2 * LOOKS)))
    for n in range(2 * LOOKS):
        fleet.add(Claim(demand=vm(f"v{n}", 6), host=f"h{n}"))
    restarts = Restarts(fleet)
    assert len(restarts.losses()) == 2 * LOOKS
    fleet.put_host(Host(key="spare", cpu=8, memory=10))
    told = [len(restarts.losses()) for _ in range(3)]
    assert told[-1] == 0
