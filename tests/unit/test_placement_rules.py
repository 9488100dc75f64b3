"""Each rule by itself: what it lets pass, what it rejects, and in which words."""

import pytest

from hpgreedy.model import Claim, Cluster, Demand, Host, HostState
from hpgreedy.placement import NotPlaced, Placed, Reason, decide, fits

HOST = Host(
    key="h1",
    cpu=4,
    memory=16384,
    cpu_overcommit=2,
    labels={"zone": "a"},
    resources={"gpu": 2},
    bridges=frozenset({"br0"}),
    networks=frozenset({"lan"}),
    names_taken=frozenset({"legacy"}),
)
HELD = Claim(demand=Demand(key="old", cpu=6, memory=12800, resources={"gpu": 1}), host="h1", movable=False)
CLUSTER = Cluster({"h1": HOST}, (HELD,))


def demand(**changes):
    return Demand(**{"key": "new", "cpu": 2, "memory": 3584, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"resources": {"gpu": 1}},
        {"host_labels": {"zone": "a"}},
        {"bridges": frozenset({"br0"}), "networks": frozenset({"lan"})},
        {"wanted_host": "h1"},
    ],
)
def test_what_just_fits_passes(changes):
    assert fits(CLUSTER, demand(**changes), "h1") is None


@pytest.mark.parametrize(
    ("changes", "reason", "need", "have", "sentence"),
    [
        ({"cpu": 3}, Reason.CPU, 3, 2, "h1: cpu: needs 3, 2 free of 8"),
        ({"memory": 3585}, Reason.MEMORY, 3585, 3584, "h1: memory: needs 3585MiB, 3.5GiB free of 16GiB"),
        ({"memory": 8192}, Reason.MEMORY, 8192, 3584, "h1: memory: needs 8GiB, 3.5GiB free of 16GiB"),
        ({"resources": {"gpu": 2}}, Reason.RESOURCE, 2, 1, "h1: resource: needs 2 gpu, 1 free of 2"),
        ({"resources": {"fpga": 1}}, Reason.RESOURCE, 1, 0, "h1: resource: needs 1 fpga, it has none"),
        ({"host_labels": {"zone": "b"}}, Reason.LABEL, None, None, "h1: label: needs zone=b, it has zone=a"),
        ({"host_labels": {"ssd": "y"}}, Reason.LABEL, None, None, "h1: label: needs ssd=y, it has no ssd"),
        ({"wanted_host": "h2"}, Reason.NAMED_HOST, None, None, "h1: named host: it must start on h2"),
        (
            {"key": "legacy"},
            Reason.NAME_TAKEN,
            None,
            None,
            "h1: name taken: a domain that is not ours is named legacy there",
        ),
        (
            {"bridges": frozenset({"br0", "br1"})},
            Reason.BRIDGE,
            None,
            None,
            "h1: bridge: it has no bridge br1",
        ),
        ({"networks": frozenset({"wan"})}, Reason.NETWORK, None, None, "h1: network: it has no network wan"),
        (
            {"key": "old", "cpu": 1, "memory": 1},
            Reason.ALREADY_THERE,
            None,
            None,
            "h1: already there: it stands there, or an operation holds room there for it",
        ),
    ],
)
def test_what_does_not_fit_is_rejected_with_numbers_and_words(changes, reason, need, have, sentence):
    rejection = fits(CLUSTER, demand(**changes), "h1")
    assert rejection is not None
    assert (rejection.reason, rejection.need, rejection.have) == (reason, need, have)
    assert rejection.sentence() == sentence


@pytest.mark.parametrize("state", [HostState.DRAINING, HostState.UNREACHABLE, HostState.DOWN])
@pytest.mark.parametrize("algorithm", ["first_fit", "best_fit", "greedy"])
def test_only_a_host_that_is_up_takes_vms(state, algorithm):
    host = Host(key="h1", cpu=4, memory=4096, state=state, problem="silent for 12 s")
    answer = decide(Cluster({"h1": host}), demand(), algorithm)
    assert isinstance(answer, NotPlaced)
    assert answer.ever
    assert answer.rejections[0].sentence() == f"h1: state: it is {state} (silent for 12 s)"
    assert answer.why.startswith("no host is up")


def test_a_host_that_holds_more_than_it_has_shows_nothing_free():
    shrunk = Host(key="h1", cpu=1, memory=1024)
    rejection = fits(Cluster({"h1": shrunk}, (HELD,)), demand(), "h1")
    assert rejection is not None
    assert rejection.have == 0


def test_a_vm_that_stands_somewhere_is_placed_elsewhere_with_both_ends_held():
    moving = Claim(demand=Demand(key="m", cpu=1, memory=1024), host="h1")
    hosts = {key: Host(key=key, cpu=4, memory=4096) for key in ("h1", "h2")}
    answer = decide(Cluster(hosts, (moving,)), moving.demand)
    assert isinstance(answer, Placed)
    assert answer.host == "h2"
    assert answer.moves == ()
    assert [r.reason for r in answer.rejections] == [Reason.ALREADY_THERE]
