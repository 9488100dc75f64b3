"""Delayed bin packing: an exact fit, a pair that fits exactly, three rounds of waiting, a flush."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hpgreedy.model import Claim, Cluster, Demand, Host, HostState, Rule, RuleKind
from hpgreedy.placement import Fleet, NotPlaced, Placed, Placer, place_all
from hpgreedy.placement.delayed import ROUNDS, Queue, Waiter, first_fit, waits_for


def hosts(*memory, cpu=99):
    return Cluster({f"h{n}": Host(key=f"h{n}", cpu=cpu, memory=each) for n, each in enumerate(memory)})


def vm(key, memory, **more):
    return Demand(key=key, **{"cpu": 1, "memory": memory, **more})


def queue_of(cluster):
    placer = Placer(Fleet(cluster))
    return placer.fleet, Queue(placer.fleet, first_fit(placer), placer.commit)


def told(turn):
    return [
        (each.demand.key, each.answer.host if isinstance(each.answer, Placed) else None)
        for each in turn.served
    ]


def test_a_vm_that_fills_a_host_is_placed_at_once_on_the_first_such():
    _, queue = queue_of(hosts(10, 4, 4))
    turn = queue.arrive((), vm("a", 4))
    assert told(turn) == [("a", "h1")]
    assert turn.queue == ()
    assert turn.served[0].answer.why == "delayed: it fills h1 exactly"


def test_no_vcpu_left_is_as_full_as_no_memory_left():
    _, queue = queue_of(hosts(10, 10, cpu=3))
    assert told(queue.arrive((), vm("a", 4, cpu=3))) == [("a", "h0")]


def test_two_that_fill_a_host_together_are_placed_together_the_oldest_waiter_first():
    _, queue = queue_of(hosts(20, 10))
    waiting = (Waiter(demand=vm("a", 3)), Waiter(demand=vm("b", 6)), Waiter(demand=vm("c", 6)))
    turn = queue.arrive(waiting, vm("new", 4))
    assert told(turn) == [("b", "h1"), ("new", "h1")]
    assert [waiter.demand.key for waiter in turn.queue] == ["a", "c"]
    assert turn.served[0].answer.why == "delayed: with new it fills h1 exactly"


def test_else_it_waits_and_every_arrival_is_a_round_for_the_others():
    fleet, queue = queue_of(hosts(100, 50))
    waiting = ()
    for n in range(ROUNDS):
        turn = queue.arrive(waiting, vm(f"v{n}", 7))
        assert told(turn) == []
        waiting = turn.queue
        assert [waiter.rounds for waiter in waiting] == list(range(n, -1, -1))
    turn = queue.arrive(waiting, vm("last", 7))
    assert told(turn) == [("v0", "h0")]
    assert turn.served[0].answer.why == "delayed: first fit after 3 rounds"
    assert [waiter.demand.key for waiter in turn.queue] == ["v1", "v2", "last"]
    assert waits_for(fleet, turn.queue[0]) == (
        "waits for an exact fit: round 2 of 3; h0 has 98 cpus with 93MiB free, h1 has 99 cpus with 50MiB free"
    )


def test_a_flush_empties_the_queue_by_first_fit_and_refuses_what_fits_nowhere():
    _, queue = queue_of(hosts(10))
    waiting = tuple(Waiter(demand=vm(key, memory)) for key, memory in (("a", 6), ("b", 6), ("c", 3)))
    turn = queue.flush(waiting)
    assert told(turn) == [("a", "h0"), ("b", None), ("c", "h0")]
    assert turn.queue == ()
    refused = turn.served[1].answer
    assert isinstance(refused, NotPlaced)
    assert refused.algorithm == "delayed"
    assert "no host has 6MiB free" in refused.why


def test_a_patient_queue_keeps_those_whose_only_obstacle_is_that_hosts_are_not_up():
    placer = Placer(Fleet(hosts(4, 10)))
    placer.fleet.put_host(Host(key="h1", cpu=99, memory=10, state=HostState.UNREACHABLE))
    waiting = tuple(
        Waiter(demand=vm(key, memory), rounds=2) for key, memory in (("a", 8), ("b", 11), ("c", 3))
    )
    patient = Queue(placer.fleet, first_fit(placer), placer.commit, patient=True)
    turn = patient.flush(waiting)
    assert told(turn) == [("b", None), ("c", "h0")]
    assert turn.queue == waiting[:1]
    assert turn.kept == {
        "a": "no host that is up takes it, and hosts that would are not up: h1 is unreachable"
    }
    turn = patient.arrive(turn.queue, vm("d", 2))
    assert told(turn) == []
    assert [(waiter.demand.key, waiter.rounds) for waiter in turn.queue] == [("a", 2), ("d", 0)]
    assert told(Queue(placer.fleet, first_fit(placer), placer.commit).flush(waiting[:1])) == [("a", None)]


def test_what_no_empty_host_would_take_does_not_wait():
    _, queue = queue_of(hosts(10))
    turn = queue.arrive((), vm("a", 11))
    assert told(turn) == [("a", None)]
    assert turn.queue == ()


def test_two_that_must_stand_apart_do_not_fill_a_host_together():
    rules = (Rule(kind=RuleKind.APART, group="g"),)
    _, queue = queue_of(hosts(10))
    turn = queue.arrive((Waiter(demand=vm("a", 6, group="g", rules=rules)),), vm("b", 4, group="g"))
    assert told(turn) == []
    assert len(turn.queue) == 2


def test_a_named_host_holds_while_waiting():
    _, queue = queue_of(hosts(4, 10))
    assert told(queue.arrive((), vm("a", 4, wanted_host="h1"))) == []


def test_a_batch_answers_in_the_order_of_the_demands_and_tells_the_order_of_events():
    batch = place_all(hosts(10, 5), [vm("a", 6), vm("b", 5), vm("c", 4), vm("d", 11)], "delayed")
    assert [answer.host if isinstance(answer, Placed) else None for answer in batch.answers] == [
        "h0",
        "h1",
        "h0",
        None,
    ]
    assert batch.order == (1, 0, 2, 3)


def full(cluster, key):
    host, used = cluster.hosts[key], cluster.used(key)
    return used.cpu == host.cpu or used.memory == host.memory


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(2, 12)), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 9)), max_size=12),
)
def test_every_vm_is_served_once_and_the_rules_are_kept(offered, asked):
    cluster = Cluster(
        {f"h{n}": Host(key=f"h{n}", cpu=cpu, memory=memory) for n, (cpu, memory) in enumerate(offered)}
    )
    fleet, queue = queue_of(cluster)
    waiting, served = (), []
    for n, (cpu, memory) in enumerate(asked):
        free_before = fleet.cluster()
        demand = vm(f"v{n}", memory, cpu=cpu)
        turn = queue.arrive(waiting, demand)
        alone = [
            host.key for host in cluster.hosts.values() if exact(host, free_before.used(host.key), [demand])
        ]
        if alone:
            assert told(turn)[0] == (demand.key, alone[0])
        pairs = [
            waiter.demand.key
            for waiter in waiting
            for host in cluster.hosts.values()
            if exact(host, free_before.used(host.key), [demand, waiter.demand])
        ]
        if not alone and pairs:
            assert told(turn)[0][0] == pairs[0]
            assert full(fleet.cluster(), told(turn)[0][1])
        assert all(waiter.rounds < ROUNDS for waiter in turn.queue)
        before = {waiter.demand.key: waiter.rounds for waiter in waiting}
        for waiter in turn.queue:
            assert waiter.rounds == before.get(waiter.demand.key, -1) + 1
        served += told(turn)
        waiting = turn.queue
    served += told(queue.flush(waiting))
    assert sorted(key for key, _ in served) == sorted(f"v{n}" for n in range(len(asked)))
    after = fleet.cluster()
    for key, host in cluster.hosts.items():
        used = after.used(key)
        assert used.cpu <= host.cpu
        assert used.memory <= host.memory
    batch = place_all(cluster, [vm(f"v{n}", m, cpu=c) for n, (c, m) in enumerate(asked)], "delayed")
    assert {c.demand.key: c.host for c in batch.cluster.claims} == {
        c.demand.key: c.host for c in after.claims
    }


def exact(host, used, demands):
    cpu = host.cpu - used.cpu - sum(demand.cpu for demand in demands)
    memory = host.memory - used.memory - sum(demand.memory for demand in demands)
    return cpu >= 0 and memory >= 0 and (cpu == 0 or memory == 0)


def test_nothing_is_held_while_it_waits():
    fleet, queue = queue_of(hosts(10))
    fleet.add(Claim(demand=vm("old", 1), host="h0"))
    before = fleet.cluster()
    queue.arrive((), vm("a", 3))
    assert fleet.cluster() == before
