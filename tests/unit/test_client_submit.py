"""submit: files are checked here first, then sent as they are."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from client_fakes import FakeCoordinator, in_turn, make_op

from hpgreedy.client import clusterfile
from hpgreedy.client.errors import InputError
from hpgreedy.client.main import main
from protocol.messages import Reply
from protocol.spec import decode_json, parse_cluster_file
from protocol.verbs import OpsStarted

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[FakeCoordinator]:
    with FakeCoordinator({"submit": OpsStarted(operations=(make_op(vm="web-1"),))}) as fake:
        fake.write_access(tmp_path)
        yield fake


def test_all_examples_can_be_submitted(
    tmp_path: Path, coordinator: FakeCoordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    files = sorted(EXAMPLES.glob("*.json"))
    assert {"request.json", "seed.json", "ubuntu-cloud.json"} <= {file.name for file in files}
    for file in files:
        assert main(["submit", str(file), "--state", str(tmp_path)]) == 0
        sent = coordinator.requests("submit")[-1]["vms"]
        wanted = parse_cluster_file(decode_json(file.read_bytes())).vms
        assert parse_cluster_file(sent).vms == wanted


def test_hosts_in_the_file_are_told_to_be_a_simulation(
    tmp_path: Path, coordinator: FakeCoordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(EXAMPLES / "seed.json")
    assert main(["submit", file, "--algorithm", "greedy", "--state", str(tmp_path)]) == 0
    err = capsys.readouterr().err
    assert err == f"hosts in {file} describe a simulation; the cluster's own hosts are used\n"
    assert coordinator.requests("submit") == [
        {
            "vms": [{"id": "vm1", "cpu": 4, "memory": 8}, {"id": "vm2", "cpu": 8, "memory": 16}],
            "algorithm": "greedy",
        }
    ]


def test_standard_input(
    tmp_path: Path, coordinator: FakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"id": 5, "cpu": 1, "memory": 1}')))
    assert main(["submit", "-", "--state", str(tmp_path)]) == 0
    assert coordinator.requests("submit") == [{"vms": [{"id": 5, "cpu": 1, "memory": 1}]}]


@pytest.mark.parametrize(
    ("content", "field", "part"),
    [
        ('{"vms":[{"id":"a","cpu":0,"memory":1}]}', "vms[0].cpu", "at least 1"),
        ('{"vms":[{"id":"a","cpu":1,"memory":"4 pounds"}]}', "vms[0].memory", "4 pounds"),
        ('{"vms":[{"id":"a","cpu":1,"memory":1,"disc":1}]}', "vms[0]", "disc"),
        ('{"vms":[{"id":1,"cpu":1,"memory":1},{"id":"1","cpu":1,"memory":1}]}', "vms[1].id", "unique"),
        ('{"vms":[]}', "vms", "no VMs"),
        ('{"hosts":[{"id":1,"cpu":1,"memory":1}]}', "vms", "no VMs"),
        ('{"vms":', "", "line 1"),
        ("\xff", "", "JSON"),
        ("", "", "JSON"),
    ],
)
def test_bad_files_are_one_sentence_and_cost_no_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, field: str, part: str
) -> None:
    file = tmp_path / "bad.json"
    file.write_text(content)
    assert main(["192.0.2.1", "submit", str(file), "--json"]) == 2
    out, err = capsys.readouterr()
    error = json.loads(out)["error"]
    assert (error["code"], error["field"]) == ("bad_request", field)
    assert part in error["message"]
    assert err == error["message"] + "\n"
    assert str(file) in err


def test_files_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in (tmp_path / "none.json", tmp_path, "a\0b"):
        assert main(["192.0.2.1", "submit", str(name)]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert "cannot be read" in err


def test_files_over_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusterfile, "MAX_FILE", 100)
    with pytest.raises(InputError) as caught:
        clusterfile.read_cluster_file("-", io.BytesIO(b" " * 101))
    assert "16 MiB" in caught.value.message
    with pytest.raises(InputError) as other:
        clusterfile.read_cluster_file("-", io.BytesIO(b" " * 100))
    assert "JSON" in other.value.message


def test_a_request_too_large_for_one_message(
    tmp_path: Path, coordinator: FakeCoordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "large.json"
    vms = [{"id": f"vm-{n}", "cpu": 1, "memory": 1, "labels": {"text": "x" * 4000}} for n in range(600)]
    file.write_text(json.dumps(vms))
    assert main(["submit", str(file), "--state", str(tmp_path)]) == 2
    assert "several smaller files" in capsys.readouterr().err
    assert coordinator.asked == []


def test_waiting_shows_each_vm_and_fails_when_one_does(
    tmp_path: Path, coordinator: FakeCoordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    good = make_op(1, vm="web-1", done=True, ok=True, target="host1")
    bad = make_op(2, vm="db-1", done=True, ok=False, error="no host has the label disk=ssd")
    coordinator.answers["submit"] = OpsStarted(operations=(make_op(1), make_op(2, vm="db-1")))
    coordinator.answers["op.show"] = lambda args: good if args["id"] == 1 else bad
    line = ["submit", str(EXAMPLES / "request.json"), "--wait", "--state", str(tmp_path)]
    assert main(line) == 1
    out, err = capsys.readouterr()
    assert "web-1: running on host1" in out
    assert "db-1: create failed: no host has the label disk=ssd" in out
    assert err == "1 of 2 operations failed, first db-1: no host has the label disk=ssd\n"
    assert main([*line, "--json"]) == 1
    ended = json.loads(capsys.readouterr().out)["operations"]
    assert [op["ok"] for op in ended] == [True, False]


def test_waiting_for_one_that_gets_there(
    tmp_path: Path, coordinator: FakeCoordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    coordinator.answers["op.show"] = in_turn(
        make_op(state="starting"), make_op(done=True, ok=True, target="h")
    )
    assert main(["submit", str(EXAMPLES / "request.json"), "--wait", "--state", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "web-1: running on h"


def test_the_coordinators_refusal(
    tmp_path: Path, coordinator: FakeCoordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    coordinator.answers["submit"] = Reply(
        ok=False, code="exists", error="web-1 exists already", field="vms[0].id"
    )
    assert main(["submit", str(EXAMPLES / "request.json"), "--state", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "web-1 exists already\n"
