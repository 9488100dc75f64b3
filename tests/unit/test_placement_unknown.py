"""Names that no host has are named as such, with those there are; what keeps no host off is only noticed."""

import pytest
from hypothesis import given, settings
from placement_cases import NEW, clusters
from placement_plain import allowed

from hpgreedy.model import Cluster, Demand, Host, Rule, RuleKind
from hpgreedy.placement import Fleet
from hpgreedy.placement.unknown import notices, unknown_names

HOST = Host(
    key="h1",
    cpu=9,
    memory=9,
    labels={"zone": "a", "rack": "r1"},
    networks=frozenset({"lan"}),
    bridges=frozenset({"br0"}),
    pools=frozenset(),
    cpu_models=frozenset({"Skylake", "Nehalem"}),
)
FLEET = Fleet(Cluster({"h1": HOST}))
ANYTHING = Fleet(Cluster({"h1": HOST, "h2": Host(key="h2", cpu=9, memory=9)}))
LABELS = "no host has such a label; known are: rack, zone"


def demand(**more):
    return Demand(key="new", cpu=1, memory=1, **more)


def near(kind="near", *, hard=True, **more):
    return demand(rules=(Rule(kind=RuleKind(kind), hard=hard, **more),))


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (
            demand(wanted_host="h9"),
            "host names the host 'h9', and no host of that name is registered; known are: h1",
        ),
        (demand(host_labels={"zoen": "a"}), f"host_labels names the label 'zoen', and {LABELS}"),
        (
            demand(networks=frozenset({"wan"})),
            "nics names the network 'wan', and no host has such a network; known are: lan",
        ),
        (
            demand(bridges=frozenset({"br1", "br0"})),
            "nics names the bridge 'br1', and no host has such a bridge; known are: br0",
        ),
        (
            demand(pool="ssd"),
            "pool names the storage pool 'ssd', and no host has such a storage pool; known are: none",
        ),
        (
            demand(cpu_model="Skylark"),
            "cpu_model names the CPU model 'Skylark', and no host has such a CPU model; "
            "known are: Nehalem, Skylake",
        ),
        (
            near(labels=frozenset({("rak", "r1")})),
            f"affinity[0].label names the label 'rak', and {LABELS}",
        ),
        (near("apart", group="g", scope="rak"), f"affinity[0].scope names the label 'rak', and {LABELS}"),
        (
            near(hosts=frozenset({"h8", "h9"})),
            "affinity[0].hosts names the host 'h8', and no host of that name is registered; known are: h1",
        ),
    ],
)
def test_a_name_nobody_has_is_named_with_those_there_are(asked, sentence):
    assert unknown_names(FLEET, asked) == sentence
    assert notices(FLEET, asked) == ()


@pytest.mark.parametrize(
    "asked",
    [
        near("near", hosts=frozenset({"h1", "h9"})),
        near("avoid", hosts=frozenset({"h9"})),
        near("avoid", labels=frozenset({("rak", "r1")})),
        near("near", hard=False, hosts=frozenset({"h9"})),
        near("together", hard=False, group="g", scope="rak"),
    ],
)
def test_what_keeps_no_host_off_is_only_noticed(asked):
    assert unknown_names(FLEET, asked) is None
    (notice,) = notices(FLEET, asked)
    assert notice.startswith("affinity[0].")


@pytest.mark.parametrize(
    "asked",
    [
        demand(host_labels={"zone": "elsewhere"}),
        demand(networks=frozenset({"lan"}), cpu_model="Skylake", wanted_host="h1"),
        near("apart", group="nobody", scope="host"),
    ],
)
def test_known_names_are_let_pass(asked):
    assert unknown_names(FLEET, asked) is None
    assert notices(FLEET, asked) == ()


def test_a_host_that_has_whatever_is_asked_for_has_every_network():
    assert unknown_names(ANYTHING, demand(networks=frozenset({"wan"}), pool="ssd", cpu_model="x")) is None


def test_without_hosts_no_name_is_to_blame():
    assert unknown_names(Fleet(Cluster()), demand(host_labels={"zone": "a"})) is None


def test_the_names_of_a_host_that_has_gone_are_gone_with_it():
    fleet = Fleet(Cluster({"h1": HOST}))
    fleet.put_host(Host(key="h2", cpu=9, memory=9, labels={"tier": "2"}))
    fleet.remove_host("h1")
    sentence = unknown_names(fleet, demand(host_labels={"zone": "a"}))
    assert sentence is not None
    assert sentence.endswith("known are: tier")


@settings(max_examples=150, deadline=None)
@given(clusters(), NEW)
def test_with_a_name_nobody_has_no_host_takes_the_vm(cluster, asked):
    if unknown_names(Fleet(cluster), asked) is not None:
        assert not any(allowed(cluster, key, asked) for key in cluster.hosts)
