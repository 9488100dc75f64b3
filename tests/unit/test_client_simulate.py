"""simulate place: a cluster file and nothing else, neither coordinator nor address nor key."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpgreedy.client.main import main
from hpgreedy.client.simulate_app import simulate_place, simulate_run
from hpgreedy.client.verbs.simulate import limits_of
from hpgreedy.operations.world import Settings
from hpgreedy.placement import ALGORITHMS, DEFAULT

Simulate = Callable[..., tuple[int, Any, str]]
SEED: dict[str, Any] = {
    "hosts": [{"id": 1, "cpu": 10, "memory": 10}, {"id": "S2", "cpu": 10, "memory": 10}],
    "vms": [
        {"id": 4, "cpu": 1, "memory": 4, "host": 1},
        {"id": "b", "cpu": 1, "memory": 2, "host": "1"},
        {"id": "c", "cpu": 1, "memory": 8, "host": "S2"},
        {"id": 7, "cpu": 1, "memory": 6},
    ],
}


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Simulate:
    def run(content: Any, *options: str) -> tuple[int, Any, str]:
        path = tmp_path / "cluster.json"
        path.write_text(json.dumps(content))
        # A state folder without a key: whoever asked a coordinator would fail.
        code = main(["simulate", "place", str(path), "--json", "--state", str(tmp_path), *options])
        captured = capsys.readouterr()
        return code, json.loads(captured.out), captured.err

    return run


def test_the_answer_echoes_ids_as_they_stand_in_the_file(place: Simulate) -> None:
    code, answer, err = place(SEED)
    assert (code, err) == (0, "")
    assert 0 <= answer.pop("seconds") < 60
    assert answer == {
        "placements": [{"vm": 7, "host": 1}],
        "moves": [{"vm": "b", "from": 1, "to": "S2"}],
        "unplaced": [],
        "algorithm": "greedy",
    }


def test_what_fits_nowhere_is_explained_for_every_host_and_exits_1(place: Simulate) -> None:
    big = {"id": 9, "cpu": 1, "memory": 20}
    code, answer, err = place({**SEED, "vms": [*SEED["vms"], big]}, "--algorithm", "best_fit")
    assert code == 1
    assert "2 of 2 VMs not placed; 7: no host has 6GiB free" in err
    assert answer["placements"] == answer["moves"] == []
    assert [each["vm"] for each in answer["unplaced"]] == [7, 9]
    assert answer["unplaced"][1]["reasons"] == {
        "1": {"reason": "memory", "detail": "needs 20GiB, 4GiB free of 10GiB", "need": 20480, "have": 4096},
        "S2": {"reason": "memory", "detail": "needs 20GiB, 2GiB free of 10GiB", "need": 20480, "have": 2048},
    }
    assert "would not fit on an empty host" in answer["unplaced"][1]["why"]


def test_one_that_fits_nowhere_does_not_stop_those_behind_it(place: Simulate) -> None:
    vms = [{"id": "big", "cpu": 11, "memory": 1}, {"id": "ok", "cpu": 1, "memory": 1}]
    code, answer, _ = place({**SEED, "vms": vms})
    assert code == 1
    assert [each["vm"] for each in answer["placements"]] == ["ok"]


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_no_host_gives_out_more_than_it_has(place: Simulate, algorithm: str) -> None:
    hosts = [{"id": n, "cpu": 8 + n, "memory": 8, "resources": {"disk": 20}} for n in range(4)]
    vms = [
        {"id": f"v{n}", "cpu": 1 + n % 3, "memory": 1 + n % 4, "resources": {"disk": 2 + n % 5}}
        for n in range(20)
    ]
    _, answer, _ = place({"hosts": hosts, "vms": vms}, "--algorithm", algorithm)
    at = {each["vm"]: each["host"] for each in answer["placements"]}
    for move in answer["moves"]:
        assert at[move["vm"]] == move["from"]
        at[move["vm"]] = move["to"]
    assert set(at) | {each["vm"] for each in answer["unplaced"]} == {vm["id"] for vm in vms}
    for host in hosts:
        held = [vm for vm in vms if at.get(vm["id"]) == host["id"]]
        assert sum(vm["cpu"] for vm in held) <= host["cpu"]
        assert sum(vm["memory"] for vm in held) <= host["memory"]
        assert sum(vm["resources"]["disk"] for vm in held) <= host["resources"]["disk"]


def test_next_fit_goes_round_and_chance_follows_the_seed(place: Simulate) -> None:
    hosts = [{"id": f"h{n}", "cpu": 99, "memory": 99} for n in range(4)]
    file = {"hosts": hosts, "vms": [{"id": f"v{n}", "cpu": 1, "memory": 1} for n in range(12)]}

    def where(*options: str) -> list[str]:
        return [each["host"] for each in place(file, *options)[1]["placements"]]

    assert where("--algorithm", "next_fit") == ["h0", "h1", "h2", "h3"] * 3
    one = where("--algorithm", "epsilon_greedy", "--seed", "1")
    assert one == where("--algorithm", "epsilon_greedy", "--seed", "1")
    assert one != where("--algorithm", "epsilon_greedy", "--seed", "2")


def test_a_simulated_vm_may_need_nothing_of_a_kind(place: Simulate) -> None:
    vms = [{"id": "a", "cpu": 0, "memory": 5}, {"id": "b", "cpu": 1, "memory": 0}]
    code, answer, _ = place({"hosts": SEED["hosts"], "vms": vms})
    assert (code, len(answer["placements"])) == (0, 2)
    full = {"id": "c", "cpu": 0, "memory": 50}
    code, answer, _ = place({"hosts": SEED["hosts"], "vms": [full]})
    assert "the largest that would fit now is" in answer["unplaced"][0]["why"]


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ({"id": "a", "cpu": -1, "memory": 1}, "vms[0].cpu is -1; it must be a whole number of at least 0"),
        ({"id": "a", "cpu": 1, "memory": -1}, "vms[0].memory is -1; it must be"),
        ({"id": "a", "cpu": 1, "memory": 1, "rack": 2}, 'vms[0] has the unknown field "rack"'),
        ({"hosts": [{"id": 1, "cpu": 1, "memory": 1, "rack": []}]}, 'hosts[0] has the unknown field "rack"'),
        ({"hosts": [{"id": 1, "cpu": 1, "memory": 0}]}, "hosts[0].memory is 0; it must be"),
        ({"vms": [{"id": "a", "cpu": 1, "memory": 1, "host": "h"}]}, "the file has no hosts"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(place: Simulate, file: Any, words: str) -> None:
    code, answer, err = place(file)
    assert code == 2
    assert answer["error"]["code"] == "bad_request"
    assert words in err
    assert "cluster.json: " in err


def test_an_unknown_algorithm_and_a_bad_seed_are_refused(place: Simulate) -> None:
    code, _, err = place(SEED, "--algorithm", "bset_fit")
    assert code == 2
    assert "algorithm is 'bset_fit'; known are best_fit, " in err
    code, _, err = place(SEED, "--seed", "x")
    assert code == 2
    assert "--seed is 'x'; it must be a whole number" in err


def test_nothing_to_place_is_no_failure(place: Simulate) -> None:
    code, answer, _ = place({"hosts": SEED["hosts"], "vms": []})
    assert (code, answer["placements"]) == (0, [])


def test_as_text_and_with_an_address_before_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cluster.json"
    path.write_text(json.dumps(SEED))
    assert main(["192.0.2.1", "simulate", "place", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["VM", "HOST", "WHY"]
    assert lines[1].startswith("7   1     greedy: no host has room, and moving b")
    assert lines[-2].split() == ["b", "1", "S2"]
    assert lines[-1].startswith("greedy placed 1 of 1 VMs with 1 move in ")
    assert lines[-1].endswith("; 2 of 2 hosts hold VMs")


def test_the_default_is_the_placers(place: Simulate) -> None:
    assert place(SEED)[1]["algorithm"] == DEFAULT


def test_a_name_that_nobody_has_in_a_soft_rule_is_noticed(place: Simulate) -> None:
    soft = {"rule": "near", "label": {"sdd": "yes"}, "hard": False}
    hosts = [{"id": 1, "cpu": 4, "memory": 8, "labels": {"ssd": "yes"}}]
    code, _, err = place({"hosts": hosts, "vms": [{"id": "a", "cpu": 1, "memory": 1, "affinity": [soft]}]})
    assert code == 0
    assert "a: affinity[0].label names the label 'sdd', and no host has such a label" in err


def test_depth_limits_the_moves_that_make_room(place: Simulate) -> None:
    assert place(SEED, "--depth", "1")[1]["moves"]
    code, answer, _ = place(SEED, "--depth", "0")
    assert (code, answer["moves"], [each["vm"] for each in answer["unplaced"]]) == (1, [], [7])


# Two hosts, each with a VM that fits beside the other's; a third VM would leave one of them no room.
TIGHT: dict[str, Any] = {
    "hosts": [{"id": "a", "cpu": 4, "memory": 4}, {"id": "b", "cpu": 4, "memory": 4}],
    "vms": [
        {"id": "one", "cpu": 2, "memory": 2, "host": "a"},
        {"id": "two", "cpu": 2, "memory": 2, "host": "b"},
        {"id": "new", "cpu": 1, "memory": 1},
    ],
}


@pytest.mark.parametrize("algorithm", [DEFAULT, "packed", "delayed"])
def test_admission_is_the_coordinators(place: Simulate, algorithm: str) -> None:
    code, answer, err = place(TIGHT, "--algorithm", algorithm)
    assert (code, err) == (0, "")
    code, answer, _ = place(TIGHT, "--algorithm", algorithm, "--admission", "n1")
    assert code == 1
    assert "could be restarted elsewhere" in answer["unplaced"][0]["why"]
    assert answer["unplaced"][0]["reasons"]["a"]["reason"] == "n1"
    code, answer, err = place(TIGHT, "--algorithm", algorithm, "--admission", "n1-warn")
    assert (code, len(answer["placements"])) == (0, 1)
    assert err.startswith("new goes to a, and ")


def test_depth_and_admission_name_what_would_be_right(place: Simulate) -> None:
    code, _, err = place(SEED, "--depth", "9")
    assert code == 2
    assert "--depth is '9'; it must be a whole number from 0 to 8" in err
    code, _, err = place(SEED, "--admission", "n2")
    assert code == 2
    assert "--admission is 'n2'; it must be one of off, n1, n1-warn" in err


def test_what_is_not_given_is_as_with_a_coordinator() -> None:
    online = Settings()
    limits = limits_of(2)
    assert (limits.depth, limits.seconds) == (online.room_depth, online.room_seconds)
    for verb in (simulate_place, simulate_run):
        given = inspect.signature(verb).parameters
        assert given["depth"].default == online.room_depth
        assert given["admission"].default == online.admission.value
