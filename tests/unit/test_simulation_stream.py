"""Streams of requests: read from a table, or generated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpgreedy.model import Demand, Host
from hpgreedy.simulation import Arrival, enough_hosts, generated, peak, read_trace
from protocol.spec import SpecError

HEAD = "second,vcpu,memory_gib,lifetime_s,censored"
HOSTS = (Host(key="a", cpu=64, memory=262144),)


def arrival(at, stays, cpu, memory, key="v"):
    return Arrival(at=at, stays=stays, demand=Demand(key=key, cpu=cpu, memory=memory))


def test_a_table_is_read_in_any_order_of_columns():
    found = read_trace(["memory_gib,second,lifetime_s,vcpu", "0.75,10,300,1", "8,10,0,4"])
    assert found == (arrival(10, 300, 1, 768, "vm0"), arrival(10, 0, 4, 8192, "vm1"))


def test_one_that_was_watched_only_for_a_while_stays():
    (found,) = read_trace([HEAD, "10,2,3.5,900,1"])
    assert found.stays is None


def test_only_the_first_are_read():
    assert len(read_trace([HEAD, "1,1,1,1,0", "2,1,1,1,0", "3,x,1,1,0"], limit=2)) == 2


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["second,vcpu"], "line 1 lacks the column 'memory_gib'"),
        ([], "line 1 lacks the column 'second'"),
        ([HEAD], "the table has no requests"),
        ([HEAD, "1,x,1,1,0"], "line 2: vcpu is 'x'; it must be a number of at least 1 and at most 4096"),
        ([HEAD, "1,1.5,1,1,0"], "line 2: vcpu is '1.5'; it must be a whole number"),
        ([HEAD, "1,1e308,1,1,0"], "line 2: vcpu is '1e308'"),
        ([HEAD, "1,1,nan,1,0"], "line 2: memory_gib is 'nan'"),
        ([HEAD, "1,1,1,-1,0"], "line 2: lifetime_s is '-1'; it must be a number of at least 0"),
        ([HEAD, "1,1,1,inf,0"], "line 2: lifetime_s is 'inf'"),
        ([HEAD, "1,1"], "line 2: memory_gib is missing"),
        ([HEAD, "5,1,1,1,0", "4,1,1,1,0"], "line 3: second is 4; it must not be before the line above, 5"),
    ],
)
def test_what_is_wrong_in_a_table_is_named(lines, sentence):
    with pytest.raises(SpecError) as caught:
        read_trace(lines)
    assert caught.value.message.startswith(sentence)
    assert caught.value.field


def test_a_generated_stream_follows_from_its_seed():
    assert generated(50, HOSTS, 1) == generated(50, HOSTS, 1)
    assert generated(50, HOSTS, 1) != generated(50, HOSTS, 2)


def test_a_generated_stream_asks_for_what_the_hosts_have():
    hosts = tuple(Host(key=f"h{n}", cpu=64, memory=10**9) for n in range(20))
    arrivals = generated(20_000, hosts, 3)
    begin, end = arrivals[0].at, arrivals[-1].at
    held = sum(a.demand.cpu * (min(a.at + (a.stays or 0), end) - a.at) for a in arrivals) / (end - begin)
    # The hosts have 1,280 vCPUs; the start, when nothing stands yet, and long stays that are cut take some.
    assert 800 < held < 1400


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9), st.integers(1, 5)), min_size=1, max_size=12))
def test_the_peak_is_the_most_that_stands_at_once(rows):
    rows.sort()
    arrivals = [arrival(at, stays, cpu, cpu * 10, f"v{n}") for n, (at, stays, cpu) in enumerate(rows)]
    standing = [
        sum(cpu for at, stays, cpu in rows[: n + 1] if at + stays > now or (at, stays) == (now, 0))
        for n, (now, _, _) in enumerate(rows)
    ]
    cpu, memory = peak(arrivals)
    # One that stays for no time at all is gone when the next one comes.
    assert max(row[2] for row in rows) <= cpu <= max(standing)
    assert memory == cpu * 10


def test_hosts_for_a_share_of_the_peak():
    arrivals = [arrival(0, 10, 4, 1, "a"), arrival(1, 10, 4, 1, "b"), arrival(20, 1, 4, 1, "c")]
    assert peak(arrivals) == (8, 2)
    assert enough_hosts(arrivals, 4, 100, share=1.0) == 2
    assert enough_hosts(arrivals, 4, 1, share=1.0) == 2
    assert enough_hosts(arrivals, 64, 100) == 1
