"""The placement benchmarks measure what they say; how long it takes is never part of a test."""

import sys

import pytest

from benchmarks.clusters import cluster_file, demands, filled, hosts
from benchmarks.decisions import courses, given, measure, scannable
from benchmarks.hail import cluster, newcomer, request
from benchmarks.placement import verdict
from benchmarks.refusals import explanations, rooms
from benchmarks.scan import Scan
from benchmarks.timing import process, times_of
from hpgreedy.model import Cluster, Demand, Host, cluster_of
from protocol.spec import parse_cluster_file


@pytest.mark.parametrize("algorithm", ["first_fit", "best_fit"])
def test_the_scan_chooses_as_the_placer_does(algorithm: str) -> None:
    for make in courses(60, 150, seed=3):
        course = make()
        found = measure(course, algorithm, runs=1, scans=150)
        assert found.scan is not None
        assert found.refused < 150


def test_a_scan_that_chooses_otherwise_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scan, "place", lambda *_: "another")
    with pytest.raises(RuntimeError, match="first_fit and the scan chose differently in 'empty hosts"):
        measure(courses(10, 5, seed=1)[0](), "first_fit", runs=1, scans=5)


def test_a_scan_knows_room_and_labels() -> None:
    made = {
        "small": Host(key="small", cpu=2, memory=2048, labels={"zone": "a"}),
        "other": Host(key="other", cpu=8, memory=8192, labels={"zone": "b"}, resources={"disk": 10}),
        "large": Host(key="large", cpu=8, memory=8192, labels={"zone": "a"}, resources={"disk": 10}),
    }
    scan = Scan(Cluster(made))
    vm = Demand(key="v", cpu=2, memory=1024, resources={"disk": 6}, host_labels={"zone": "a"})
    assert scan.place(vm, "best_fit") == "large"
    assert scan.place(vm, "best_fit") is None
    scan.remove(vm, "large")
    assert scan.place(vm, "first_fit") == "large"
    assert scan.place(Demand(key="w", cpu=1, memory=512), "best_fit") == "small"


def test_full_hosts_are_full_and_hold_no_more_than_they_have() -> None:
    made = filled(40, 1, flavours=False)
    for host in made.hosts.values():
        used = made.used(host.key)
        assert used.cpu <= host.cpu_capacity
        assert used.memory <= host.memory_capacity
        assert used.resources["disk"] <= host.resources["disk"]
        assert {claim.demand.host_labels["zone"] for claim in made.claims_on(host.key)} == {
            host.labels["zone"]
        }
    assert all(made.claims_on(key) for key in made.hosts)


def test_all_that_is_generated_follows_from_the_seed() -> None:
    assert hosts(20, 1) == hosts(20, 1) != hosts(20, 2)
    assert demands(20, 1, flavours=True) == demands(20, 1, flavours=True) != demands(20, 2, flavours=True)


def test_a_cluster_of_ones_own_without_new_vms_gives_those_that_stand_once_more() -> None:
    made = filled(5, 1, flavours=True)
    course = given(made, (), steps=7, seed=1)
    assert len(course.coming) == len(course.going) == 7
    assert {(vm.cpu, vm.memory) for vm in course.coming} <= {
        (claim.demand.cpu, claim.demand.memory) for claim in made.claims
    }
    own = Demand(key="own", cpu=1, memory=1)
    course = given(made, (own,), steps=7, seed=1)
    assert (course.coming, course.going) == ([own], [])


def test_only_vms_that_ask_for_room_and_labels_are_scanned_for() -> None:
    made = filled(5, 1, flavours=True)
    plain, numa = Demand(key="own", cpu=2, memory=2), Demand(key="own", cpu=2, memory=2, numa=1)
    assert scannable(given(made, (plain,), steps=1, seed=1))
    assert not scannable(given(made, (numa,), steps=1, seed=1))


def test_every_case_of_a_refusal_is_one() -> None:
    found = explanations(30, seed=1, runs=1)
    assert len(found) == 5
    assert {case.outcome for case in found} == {"refused"}


def test_room_is_made_by_as_many_moves_as_the_case_says() -> None:
    outcomes = {case.name: case.outcome for case in rooms(20, seed=1, runs=1)}
    assert outcomes["one move (200 VMs)"].startswith("1 moves")
    assert outcomes["two moves (200 VMs)"].startswith("2 moves")
    none = [outcome for name, outcome in outcomes.items() if name.startswith("none")]
    assert len(none) == 3
    assert set(none) == {"none, depth 2"}


def test_a_cluster_file_says_what_the_cluster_is() -> None:
    made, new = filled(4, 1, flavours=False), demands(3, 1, flavours=False)
    again, waiting = cluster_of(parse_cluster_file(cluster_file(made, new), simulation=True))
    assert again.hosts == made.hosts
    assert list(waiting) == new
    assert {(claim.demand.key, claim.host) for claim in again.claims} == {
        (claim.demand.key, claim.host) for claim in made.claims
    }
    assert all(again.used(key) == made.used(key) for key in made.hosts)


def test_hail_is_given_the_same_cluster() -> None:
    before = cluster(3)
    found = request(before, newcomer())
    assert list(found["nodes"]) == list(before.hosts)
    assert len(found["instances"]) == len(before.claims) == 30
    for key, node in found["nodes"].items():
        used = before.used(key)
        assert node["total_memory"] - node["free_memory"] == used.memory > 0
        assert node["total_disk"] - node["free_disk"] == used.resources["disk"] * 1024
        held = [each for each in found["instances"].values() if each["nodes"] == [key]]
        assert sum(each["vcpus"] for each in held) == used.cpu
    assert (found["request"]["vcpus"], found["request"]["memory"]) == (4, 8192)


def test_times_and_verdicts() -> None:
    times = times_of([n / 1e6 for n in range(1, 101)])
    assert [round(figure) for figure in times[1:]] == [50, 99, 100]
    assert round(times.rate) == round(100 / (5050 / 1e6))
    assert verdict(60, 50, least=True) == verdict(40, 50) == "met"
    assert verdict(40, 50, least=True) == verdict(60, 50) == "missed by 20%"


def test_a_process_that_ends_otherwise_than_expected_is_told() -> None:
    python = sys.executable
    assert process([python, "-c", "raise SystemExit(3)"], runs=1, code=3).wall > 0
    with pytest.raises(RuntimeError, match=r"ended with 3: .*because"):
        process([python, "-c", "import sys; sys.exit(print('because', file=sys.stderr) or 3)"], runs=1)
