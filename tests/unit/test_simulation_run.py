"""A stream through a placer: what is counted, and when."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpgreedy.model import Claim, Cluster, Demand, Host
from hpgreedy.placement import ALGORITHMS, Limits
from hpgreedy.simulation import Arrival, Shape, default_shape, generated, run
from hpgreedy.simulation.course import fragmentation
from protocol.spec import SpecError

SHAPE = Shape(cpu=2, memory=2)


def still():
    return 0.0


def course(cluster, arrivals, algorithm="first_fit", **more):
    return run(cluster, arrivals, algorithm, shape=SHAPE, limits=Limits(), clock=still, **more)


def hosts(count, cpu=4, memory=4):
    return Cluster({f"h{n}": Host(key=f"h{n}", cpu=cpu, memory=memory) for n in range(count)})


def come(*rows):
    return [
        Arrival(at=at, stays=stays, demand=Demand(key=f"v{n}", cpu=size, memory=size))
        for n, (at, stays, size) in enumerate(rows)
    ]


def test_room_is_there_again_when_a_vm_has_left():
    found = course(hosts(1), come((0, 10, 4), (5, 10, 4), (10, None, 4), (20, 1, 1)))
    assert (found.placed, found.rejected) == (2, 2)
    assert found.rejected_cpu == 5 / 13


def test_samples_are_even_in_time_and_see_what_stands():
    found = course(hosts(2), come((100, 50, 4), (340, None, 2)))
    assert [each.at for each in found.samples] == [n + 1 for n in range(240)]
    assert [each.vms for each in found.samples] == [1] * 49 + [0] * 190 + [1]
    assert found.samples[0].cpu == 0.5
    assert found.samples[0].hosts_used == found.hosts_peak == 1
    assert found.hosts_mean == pytest.approx(50 / 240)


def test_vms_that_stood_before_stay():
    standing = Cluster(hosts(1).hosts, (Claim(demand=Demand(key="old", cpu=3, memory=3), host="h0"),))
    found = course(standing, come((0, 1, 1), (5, 1, 2)))
    assert (found.placed, found.rejected) == (1, 1)
    assert found.samples[-1].vms == 1


def test_moves_that_make_room_are_counted():
    ten = hosts(2, 10, 10)
    found = course(ten, come((0, None, 4), (1, None, 2), (2, None, 8), (3, None, 6)), "greedy")
    assert (found.placed, found.moves, found.moved) == (4, 1, 2)


def test_next_fit_goes_round():
    found = course(hosts(3), come((0, None, 1), (1, None, 1), (2, None, 1), (3, 1, 1)), "next_fit")
    assert found.hosts_peak == 3


@pytest.mark.parametrize("algorithm", sorted(name for name, each in ALGORITHMS.items() if not each.batch))
def test_every_algorithm_runs_and_repeats_itself(algorithm):
    cluster = hosts(6, 32, 131072)
    arrivals = generated(150, tuple(cluster.hosts.values()), 5)
    first = course(cluster, arrivals, algorithm, seed=3)
    assert first.placed + first.rejected == 150
    assert first == course(cluster, arrivals, algorithm, seed=3)
    assert all(0 <= each.cpu <= 1 and 0 <= each.memory <= 1 for each in first.samples)


def test_one_that_waits_stays_as_long_from_when_it_is_placed():
    waits = come((0, 20, 1), (30, 1, 1), (60, 1, 1), (90, 1, 1), (240, 1, 1))
    found = course(hosts(1), waits, "delayed")
    assert (found.placed, found.rejected) == (5, 0)
    assert [found.samples[at].vms for at in (0, 60, 88, 95, 105, 120)] == [0, 0, 0, 1, 1, 0]


def test_an_unknown_algorithm_is_refused():
    with pytest.raises(SpecError, match="known are"):
        course(hosts(1), come((0, 1, 1)), "luck")


@given(st.lists(st.tuples(st.integers(-2, 9), st.integers(-2, 9)), min_size=1, max_size=6))
def test_fragmentation_is_what_the_cracks_swallow(free):
    cpu, memory = (np.array(column) for column in zip(*free, strict=True))
    slots = sum(max(0, min(c // 2, m // 2)) for c, m in free)
    ideal = min(sum(max(c, 0) for c, _ in free) // 2, sum(max(m, 0) for _, m in free) // 2)
    assert fragmentation(cpu, memory, SHAPE) == (1 - slots / ideal if ideal else 0)


def test_the_shape_is_a_large_vm_of_the_stream():
    arrivals = come(*((n, 1, 1) for n in range(18)), (18, 1, 4), (19, 1, 9))
    assert default_shape(arrivals) == Shape(cpu=9, memory=9)
    assert default_shape(come((0, 1, 3))) == Shape(cpu=3, memory=3)


@pytest.mark.parametrize("algorithm", ["worst_fit", "delayed"])
def test_the_peak_counts_a_burst_between_two_samples(algorithm):
    burst = come((0, None, 4), (10.2, 0, 4), (10.2, 0.1, 4), (10.25, 0.1, 4), (240, 0, 4))
    found = course(hosts(5), burst, algorithm)
    assert max(each.hosts_used for each in found.samples) == 1
    assert found.hosts_peak == 3


def test_the_peak_counts_what_stood_before():
    standing = Cluster(hosts(3).hosts, (Claim(demand=Demand(key="old", cpu=3, memory=3), host="h2"),))
    assert course(standing, come((0, 1, 9), (5, 1, 9))).hosts_peak == 1


def test_no_moves_at_depth_0():
    arrivals = come((0, None, 4), (1, None, 2), (2, None, 8), (3, None, 6))
    found = run(hosts(2, 10, 10), arrivals, "greedy", shape=SHAPE, limits=Limits(depth=0), clock=still)
    assert (found.placed, found.moves, found.hosts_peak) == (3, 0, 2)
