"""simulate place --explain, and refusals of many hosts in its JSON."""

import json

import pytest

from hpgreedy.client.main import main

HOSTS = [{"id": 1, "cpu": 10, "memory": 10}, {"id": "S2", "cpu": 10, "memory": 20}]


@pytest.fixture
def place(tmp_path, capsys):
    def run(content, *options, as_json=True):
        path = tmp_path / "cluster.json"
        path.write_text(json.dumps(content))
        code = main(["simulate", "place", str(path), *(["--json"] if as_json else []), *options])
        out = capsys.readouterr().out
        return code, json.loads(out) if as_json else out

    return run


def test_each_vm_is_explained_as_the_cluster_stood_at_its_turn(place):
    vms = [{"id": n, "cpu": 6, "memory": 6} for n in (1, 2, 3)]
    code, answer = place({"hosts": HOSTS, "vms": vms}, "--algorithm", "first_fit", "--explain")
    assert code == 1
    first, second, third = answer["explanations"]
    assert (first["vm"], first["host"], first["taking"]) == ("1", "1", 2)
    assert first["runner_up"]["host"] == "S2"
    assert (second["host"], second["taking"], second["runner_up"]) == ("S2", 1, None)
    assert [each["best"] for each in second["rejected"]] == ["1"]
    assert (third["outcome"], third["why"]) == ("refused", answer["unplaced"][0]["why"])
    assert third["change"]["edits"] == [
        {
            "kind": "more_cpu",
            "host": "S2",
            "amount": 2,
            "sentence": "S2 has 2 cpus more to give out",
        }
    ]


def test_without_the_option_nothing_is_explained(place):
    _, answer = place({"hosts": HOSTS, "vms": [{"id": "a", "cpu": 1, "memory": 1}]})
    assert "explanations" not in answer


@pytest.mark.parametrize("algorithm", ["delayed", "packed", "greedy"])
def test_batches_and_queues_are_explained_too(place, algorithm):
    vms = [{"id": f"v{n}", "cpu": 3, "memory": 1 + n % 3} for n in range(8)]
    seconds = ["--seconds", "0.2"]
    _, answer = place({"hosts": HOSTS, "vms": vms}, "--algorithm", algorithm, *seconds, "--explain")
    told = {each["vm"]: each["host"] for each in answer["explanations"]}
    assert {vm: host for vm, host in told.items() if host} == {
        each["vm"]: str(each["host"]) for each in answer["placements"]
    }
    assert {vm for vm, host in told.items() if host is None} == {each["vm"] for each in answer["unplaced"]}


def test_as_text_one_block_a_vm(place):
    vms = [{"id": "a", "cpu": 1, "memory": 15}, {"id": "b", "cpu": 1, "memory": 15}]
    code, out = place({"hosts": HOSTS, "vms": vms}, "--explain", as_json=False)
    assert code == 1
    assert "rejected  1: memory: needs 15GiB, 10GiB free of 10GiB" in out
    assert "it would fit if 1 has 5GiB more memory to give out" in out
    assert "or ask for at most 10 cpus and 10GiB, which 1 has free" in out


def test_with_many_hosts_a_reason_stands_for_all_that_a_rule_rejects(place):
    hosts = [{"id": n, "cpu": 2 + n % 7, "memory": 8} for n in range(100)]
    hosts += [{"id": "off", "cpu": 64, "memory": 64, "state": "down"}]
    _, answer = place({"hosts": hosts, "vms": [{"id": "a", "cpu": 9, "memory": 1}]})
    assert answer["unplaced"][0]["reasons"] == {
        "off": {"reason": "state", "detail": "it is down", "need": None, "have": None},
        "6": {"reason": "cpu", "detail": "needs 9, 8 free of 8", "need": 9, "have": 8, "hosts": 100},
    }
