"""What a refusal says: what is missing, what would fit, and no more than was searched."""

from hpgreedy.model import Claim, Cluster, Demand, Host, HostState
from hpgreedy.placement import Fleet, Limits, NotPlaced, Placer, decide

GIB = 1024


def refused(hosts, demand, algorithm="greedy", held=()):
    answer = decide(Cluster({host.key: host for host in hosts}, tuple(held)), demand, algorithm)
    assert isinstance(answer, NotPlaced)
    return answer


def vm(cpu, memory, **more):
    return Demand(**{"key": "new", "cpu": cpu, "memory": memory * GIB, **more})


def claim(key, on, cpu, memory):
    return Claim(demand=Demand(key=key, cpu=cpu, memory=memory * GIB), host=on, movable=False)


THREE = [Host(key=f"h{n}", cpu=16, memory=64 * GIB) for n in (1, 2, 3)]
LOOSE = [Claim(demand=Demand(key=f"v{n}", cpu=1, memory=30 * GIB), host=f"h{n % 3 + 1}") for n in range(6)]
HELD = [claim("a", "h1", 10, 60), claim("b", "h2", 4, 24), claim("c", "h3", 8, 40)]


def test_it_names_the_largest_vm_that_would_fit_and_why_the_others_do_not():
    answer = refused(THREE, vm(8, 64), held=HELD)
    assert answer.why.startswith("no host ")
    assert answer.largest == ("h2", 12, 40 * GIB)
    assert answer.ever
    assert answer.why == (
        "no host takes 8 cpus with 64GiB now, and no chain of up to 2 live migrations would make room: "
        "the largest that would fit now is 12 cpus with 40GiB on h2 "
        "(h1: cpu: needs 8, 6 free of 16; h3: memory: needs 64GiB, 24GiB free of 64GiB)"
    )


def test_one_shortage_everywhere_is_named_in_the_head():
    assert refused(THREE, vm(1, 50), held=HELD).why.startswith("no host has 50GiB free, and no chain")
    assert refused(THREE, vm(13, 1), held=HELD).why.startswith("no host has 13 cpus free, and no chain")


def test_the_largest_really_fits_and_a_little_more_does_not():
    answer = refused(THREE, vm(8, 64), held=HELD)
    assert answer.largest is not None
    host, cpu, memory = answer.largest
    cluster = Cluster({h.key: h for h in THREE}, tuple(HELD))
    assert decide(cluster, Demand(key="n", cpu=cpu, memory=memory, wanted_host=host)).host == host  # type: ignore[union-attr]
    for more in ((cpu + 1, memory), (cpu, memory + 1)):
        bigger = Demand(key="n", cpu=more[0], memory=more[1], wanted_host=host)
        assert isinstance(decide(cluster, bigger), NotPlaced)


def test_the_largest_respects_what_the_vm_asks_for_besides_room():
    hosts = [
        Host(key="empty", cpu=32, memory=32 * GIB),
        Host(key="ssd", cpu=2, memory=2 * GIB, labels={"ssd": "y"}),
    ]
    assert refused(hosts, vm(4, 4, host_labels={"ssd": "y"})).largest == ("ssd", 2, 2 * GIB)


def test_what_never_fits_says_so_and_does_not_speak_of_moves():
    answer = refused(THREE, vm(17, 1))
    assert not answer.ever
    assert "would not fit on an empty host" in answer.why
    assert "migration" not in answer.why


def test_a_refusal_claims_only_what_was_searched():
    assert "no chain of up to 2 live migrations would make room" in refused(THREE, vm(8, 64), held=HELD).why
    for algorithm in ("first_fit", "best_fit"):
        assert "migration" not in refused(THREE, vm(8, 64), algorithm, HELD).why
    assert "migration" not in refused(THREE, vm(1, 1, host_labels={"x": "y"})).why


def test_a_full_cluster_offers_nothing():
    answer = refused([Host(key="h1", cpu=1, memory=GIB)], vm(1, 1), held=[claim("a", "h1", 1, 1)])
    assert answer.largest is None
    assert "largest" not in answer.why


def test_no_hosts():
    answer = refused([], vm(1, 1))
    assert answer.why == "no host is registered"
    assert not answer.ever
    assert refused([], vm(1, 1, wanted_host="h1")).why == "no host is registered"


def test_a_named_host_that_is_not_known():
    answer = refused(THREE, vm(1, 1, wanted_host="h9"))
    assert answer.why == (
        "no host takes it: host names the host 'h9', and no host of that name is registered; "
        "known are: h1, h2, h3"
    )
    assert not answer.ever


def test_a_named_host_that_does_not_take_it():
    answer = refused(THREE, vm(8, 1, wanted_host="h1"), held=HELD)
    assert answer.why == (
        "it must start on h1, which does not take it: cpu: needs 8, 6 free of 16, "
        "and no chain of up to 2 live migrations would make room: "
        "the largest that would fit now is 6 cpus with 4GiB on h1"
    )


def test_a_label_nobody_has():
    answer = refused(
        [Host(key="h1", cpu=1, memory=GIB, labels={"zone": "a"})], vm(1, 1, host_labels={"zone": "b"})
    )
    assert answer.why == "no host has the labels zone=b (h1: label: needs zone=b, it has zone=a)"
    assert not answer.ever


def test_a_missing_resource():
    answer = refused(THREE, vm(1, 1, resources={"gpu": 2}))
    assert answer.why.startswith("no host has 2 gpu free, and it would not fit on an empty host (h1: ")
    assert answer.largest is None


def test_a_host_that_is_down_now_may_take_it_later():
    assert refused([Host(key="h1", cpu=1, memory=GIB, state=HostState.DOWN)], vm(1, 1)).ever


def test_more_than_a_few_hosts_are_cut_short_in_the_sentence():
    hosts = [Host(key=f"h{n}", cpu=1, memory=GIB) for n in range(50)]
    answer = refused(hosts, vm(2, 1))
    assert len(answer.rejections) == 50
    assert answer.why.endswith("and 46 more)")


def test_of_many_hosts_one_stands_for_all_that_a_rule_rejects():
    hosts = [Host(key=f"h{n}", cpu=2 + n % 7, memory=GIB) for n in range(100)]
    hosts += [Host(key=f"d{n}", cpu=64, memory=64 * GIB, state=HostState.DRAINING) for n in range(5)]
    answer = refused(hosts, vm(9, 1), "best_fit")
    assert [(r.host, r.reason, r.have, r.hosts) for r in answer.rejections] == [
        ("d0", "state", None, 5),
        ("h6", "cpu", 8, 100),
    ]
    assert answer.why == (
        "no host takes 9 cpus with 1GiB now: the largest that would fit now is 8 cpus with 1GiB on h6 "
        "(5 hosts, such as d0: state: it is draining; "
        "100 hosts, at best h6: cpu: needs 9, 8 free of 8)"
    )


def test_a_search_that_was_cut_off_says_so():
    ticks = iter(range(10**9))
    limits = Limits(depth=2, seconds=0.0, clock=lambda: float(next(ticks)))
    answer = Placer(Fleet(Cluster({h.key: h for h in THREE}, tuple(LOOSE))), limits).decide(vm(8, 64))
    assert isinstance(answer, NotPlaced)
    assert answer.searched is not None
    assert not answer.searched.complete
    assert "was found in time to make room" in answer.why
    assert "would make room" not in answer.why
