"""The queue of delayed across a killed coordinator, and N+1 admission: real programs, hosts simulated."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.system.conftest import System


def vm(name: str, memory: float, **more: object) -> dict[str, object]:
    return {"id": name, "cpu": 1, "memory": memory, **more}


@pytest.fixture
def two_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    made = System(tmp_path_factory.mktemp("queue"))
    try:
        made.start_coordinator("--algorithm", "delayed", "--admission", "n1-warn")
        made.start_agent("s1")
        made.wait_for("s1, which is to be the first", lambda: made.hosts_up(1))
        made.start_agent("s2")
        made.wait_for("two hosts", lambda: made.hosts_up(2))
        yield made
    finally:
        made.stop()


def states(system: System) -> dict[str, tuple[str, str | None]]:
    return {str(item["id"]): (item["state"], item["host"]) for item in system.ask("vm", "list")}


def test_the_queue_survives_a_killed_coordinator_and_is_flushed(two_hosts: System) -> None:
    system = two_hosts
    asked = [vm("a", 5), vm("b", 2), vm("c", 4)]
    started = system.ask("submit", "-", text=json.dumps({"vms": asked}))
    number = next(op["id"] for op in started["operations"] if op["vm"] == "a")
    waits = "waits for an exact fit: round 2 of 3; s1 has 4 cpus with 8GiB free, s2 has 4 cpus with 8GiB free"
    assert system.ask("op", "show", str(number))["waits_for"] == waits
    assert waits in system.client("op", "show", str(number)).stdout

    system.kill("coordinator")
    system.start_coordinator("--algorithm", "delayed")
    system.wait_for("both hosts again", lambda: system.hosts_up(2))
    assert system.ask("op", "show", str(number))["waits_for"] == waits
    assert states(system) == dict.fromkeys("abc", ("waiting", None))
    assert [host["memory_allocated"] for host in system.ask("host", "list")] == [0, 0]

    system.ask("vm", "delete", "c")
    assert set(states(system)) == {"a", "b"}
    system.ask("submit", "-", "--wait", text=json.dumps({"vms": [vm("exact", 8)]}))
    assert system.ask("op", "show", str(number))["why"] == "delayed: first fit after 3 rounds"
    assert states(system)["b"] == ("waiting", None)
    flushed = system.ask("flush", "--wait")
    assert [(op["vm"], op["ok"], op["target"]) for op in flushed["operations"]] == [("b", True, "s2")]
    system.wait_for("all run", lambda: {state for state, _ in states(system).values()} == {"running"})
    assert {key: host for key, (_, host) in states(system).items()} == {"exact": "s1", "a": "s2", "b": "s2"}


def test_n1_refuses_and_the_status_says_what_a_death_would_strand(two_hosts: System) -> None:
    system = two_hosts
    submit = ("submit", "-", "--algorithm", "first_fit", "--wait")
    system.ask(*submit, text=json.dumps({"vms": [vm("a", 5)]}))
    warned = system.client(*submit, text=json.dumps({"vms": [vm("b", 5)]}))
    assert warned.returncode == 0, warned.stderr
    assert "if s2 died, b could not be restarted" in warned.stdout + warned.stderr
    status = system.ask("status")
    assert status["admission"] == "n1-warn"
    assert status["losses"] == [{"host": "s1", "vms": ["a"]}, {"host": "s2", "vms": ["b"]}]
    assert "if host s1 dies, these VMs cannot be restarted: a" in system.client("status").stdout

    system.ask("vm", "delete", "b", "--force")
    system.kill("coordinator")
    system.start_coordinator("--admission", "n1")
    system.wait_for("both hosts again", lambda: system.hosts_up(2))
    refused = system.client(*submit, text=json.dumps({"vms": [vm("c", 4)]}))
    assert refused.returncode == 1
    assert "if s2 died, c could not be restarted" in refused.stderr
    system.ask(*submit, text=json.dumps({"vms": [vm("d", 3)]}))
    assert system.ask("status")["losses"] == []
