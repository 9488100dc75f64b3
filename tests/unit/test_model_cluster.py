"""The cluster value: usage is always the sum of the claims, and old values never change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpgreedy.model import Claim, Cluster, Demand, Host, Used
from protocol.spec import VmSpec, decode_spec

HOSTS = {key: Host(key=key, cpu=8, memory=8192) for key in ("h1", "h2")}

demands = st.builds(
    Demand,
    key=st.sampled_from(["a", "b", "c", "d"]),
    cpu=st.integers(1, 4),
    memory=st.integers(1, 4096),
    resources=st.dictionaries(st.sampled_from(["gpu", "fpga"]), st.integers(1, 3)),
)
claims = st.builds(Claim, demand=demands, host=st.sampled_from(["h1", "h2", "gone"]))


def summed(cluster: Cluster, host: str) -> tuple[int, int, dict[str, int], int]:
    held = [claim.demand for claim in cluster.claims if claim.host == host]
    names = {name for demand in held for name in demand.resources}
    return (
        sum(demand.cpu for demand in held),
        sum(demand.memory for demand in held),
        {name: sum(demand.resources.get(name, 0) for demand in held) for name in names},
        len(held),
    )


def shown(used: Used) -> tuple[int, int, dict[str, int], int]:
    return used.cpu, used.memory, {n: c for n, c in used.resources.items() if c}, used.count


@given(st.lists(claims, max_size=8), claims, st.sampled_from(["a", "b"]), st.sampled_from([None, "h1"]))
def test_usage_is_the_sum_of_the_claims_after_every_change(held, more, vm, host):
    cluster = Cluster(HOSTS, tuple(held))
    before = {key: shown(cluster.used(key)) for key in ("h1", "h2", "gone")}
    grown = cluster.with_claim(more)
    shrunk = grown.without(vm, host)
    for each in (cluster, grown, shrunk):
        for key in ("h1", "h2", "gone"):
            assert shown(each.used(key)) == summed(each, key)
    assert grown.claims == (*held, more)
    assert not [c for c in shrunk.claims if c.demand.key == vm and host in (None, c.host)]
    assert {key: shown(cluster.used(key)) for key in ("h1", "h2", "gone")} == before


def test_without_a_host_drops_both_ends_and_with_one_only_that_end():
    demand = Demand(key="a", cpu=1, memory=1)
    cluster = Cluster(HOSTS).with_claim(Claim(demand=demand, host="h1", movable=False))
    cluster = cluster.with_claim(Claim(demand=demand, host="h2", movable=False))
    assert cluster.hosts_of("a") == {"h1", "h2"}
    assert cluster.without("a", "h1").hosts_of("a") == {"h2"}
    assert cluster.without("a").claims == ()


def test_values_cannot_be_changed():
    cluster = Cluster(HOSTS)
    with pytest.raises(AttributeError):
        cluster.claims = ()  # type: ignore[misc]


def test_overcommit_is_exact():
    host = Host(key="h", cpu=10, memory=1000, cpu_overcommit=2.3, memory_overcommit=1.1)
    assert (host.cpu_capacity, host.memory_capacity) == (23, 1100)


def test_a_demand_takes_what_its_spec_says():
    spec = decode_spec(
        {
            "id": 7,
            "cpu": 2,
            "memory": "1536MiB",
            "host": 3,
            "pinned": True,
            "resources": {"gpu": 1, "none": 0},
            "host_labels": {"zone": "a"},
            "nics": [{"bridge": "br0"}, {"network": "lan"}, {}],
        },
        VmSpec,
    )
    assert Demand.of_spec(spec) == Demand(
        key="7",
        cpu=2,
        memory=1536,
        resources={"gpu": 1},
        host_labels={"zone": "a"},
        wanted_host="3",
        pinned=True,
        bridges=frozenset({"br0"}),
        networks=frozenset({"lan"}),
    )
    assert Demand.of_spec(spec).unbound().wanted_host is None
