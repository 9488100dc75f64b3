"""Coordinator, agent and libvirtd killed and restarted: the same VMs afterwards, nothing stopped."""

from __future__ import annotations

import json
import signal
import time
from datetime import datetime
from typing import Any

import pytest

from tests.live.conftest import Live
from tests.live.test_main_job import small


def listing(live: Live) -> dict[str, tuple[str, str, str]]:
    return {name: (vm["uuid"], vm["host"], vm["state"]) for name, vm in live.vms().items()}


def running(live: Live) -> bool:
    return all(state == "running" for _, _, state in listing(live).values())


@pytest.fixture
def counting(live: Live) -> dict[str, Any]:
    live.submit([small(f"k{n}", host=f"h{n}") for n in (1, 2, 3)])
    live.wait_booted("k1", "k2", "k3")
    return {name: live.count(name) for name in ("k1", "k2", "k3")}


def unharmed(live: Live, before: dict[str, Any]) -> None:
    for name, old in before.items():
        new = live.count(name)
        assert new["start_id"] == old["start_id"]
        assert new["count"] > old["count"]
        assert new["mem"] == "ok"


def test_coordinator_killed(live: Live, counting: dict[str, Any]) -> None:
    before = listing(live)
    live.cluster.kill("coordinator")
    live.cluster.start_coordinator()
    live.cluster.wait_for_coordinator()
    live.wait_for("all VMs are shown running again", lambda: listing(live) == before)
    unharmed(live, counting)


def test_agent_killed(live: Live, counting: dict[str, Any]) -> None:
    before = listing(live)
    live.cluster.kill("agent-h1")
    live.wait_for("h1 is unreachable", lambda: live.ask("host", "show", "h1")["state"] == "unreachable")
    assert live.vms()["k1"]["state"] == "unknown"
    unharmed(live, counting)
    live.cluster.start_agent("h1")
    live.wait_for("all VMs are shown running again", lambda: listing(live) == before)
    unharmed(live, counting)


def test_libvirtd_killed(live: Live, counting: dict[str, Any]) -> None:
    before = listing(live)
    live.lab.kill_libvirtd("h2")
    live.wait_for("h2 is reported", lambda: live.ask("host", "show", "h2")["state"] == "hypervisor-down")
    refused = live.raw("submit", "-", text=json.dumps(small("late", host="h2")))
    assert refused.returncode == 1
    assert "h2" in refused.stderr
    live.lab.start_libvirtd("h2")
    live.wait_for("all VMs are shown running again", lambda: listing(live) == before)
    unharmed(live, counting)


def test_a_domain_event_reaches_the_coordinator_within_a_second(live: Live) -> None:
    live.submit([small("ended", host="h1")])
    begun = time.time()
    live.lab.host("h1").virsh("destroy", "ended")
    over = time.time()

    def heard() -> list[float]:
        lines = [
            json.loads(line)
            for line in live.cluster.log("coordinator").splitlines()
            if "domain event" in line
        ]
        stopped = [x for x in lines if x.get("vm") == "ended" and x.get("event_name") == "stopped"]
        return [datetime.fromisoformat(x["timestamp"]).timestamp() for x in stopped]

    live.wait_for("the event is logged", heard, 10)
    print(f"\nfrom virsh to the coordinator: {heard()[0] - begun:.3f} s")
    assert heard()[0] < over + 1.0
    live.wait_for("it is shown stopped", lambda: live.vms()["ended"]["state"] in ("stopped", "crashed"), 10)
    problem = live.ask("vm", "show", "ended")["problem"]
    live.wait_for("it is said", lambda: "ended" in live.ask("vm", "show", "ended")["problem"], 20)
    assert "without being asked" in live.ask("vm", "show", "ended")["problem"], problem
    live.ask("vm", "start", "ended")
    assert live.ask("vm", "show", "ended")["problem"] == ""


@pytest.mark.parametrize("victim", ["coordinator", "agent-h1"])
def test_killed_in_the_middle_of_a_migration(live: Live, counting: dict[str, Any], victim: str) -> None:
    live.lab.limit("h1", 100)
    try:
        op = live.ask("vm", "migrate", "k1", "--to", "h2", "--no-wait")["operations"][0]
        live.wait_for(
            "the migration runs", lambda: live.ask("op", "show", str(op["id"]))["state"] == "execution"
        )
        time.sleep(0.7)
        live.cluster.kill(victim, signal.SIGKILL)
        if victim == "coordinator":
            live.cluster.start_coordinator()
            live.cluster.wait_for_coordinator()
        else:
            live.cluster.start_agent("h1")
        live.wait_for("the operation ends", lambda: live.ask("op", "show", str(op["id"]))["done"], seconds=90)
    finally:
        live.lab.limit("h1", None)
    ended = live.ask("op", "show", str(op["id"]))
    assert ended["ok"], ended
    live.wait_for("k1 is shown on h2", lambda: listing(live)["k1"][1:] == ("h2", "running"))
    assert "k1" not in live.virsh_list("--all")["h1"]
    unharmed(live, counting)


def test_target_libvirtd_killed_in_the_middle_of_a_migration(live: Live, counting: dict[str, Any]) -> None:
    live.lab.limit("h1", 100)
    try:
        op = live.ask("vm", "migrate", "k1", "--to", "h3", "--no-wait")["operations"][0]
        live.wait_for(
            "the migration runs", lambda: live.ask("op", "show", str(op["id"]))["state"] == "execution"
        )
        time.sleep(0.7)
        live.lab.kill_libvirtd("h3")
        time.sleep(2)
        live.lab.start_libvirtd("h3")
        live.wait_for("the operation ends", lambda: live.ask("op", "show", str(op["id"]))["done"], seconds=90)
    finally:
        live.lab.limit("h1", None)
    ended = live.ask("op", "show", str(op["id"]))
    where = live.vms()["k1"]["host"]
    assert where == ("h3" if ended["ok"] else "h1")
    others = [host for host, names in live.virsh_list("--all").items() if "k1" in names and host != where]
    assert not others
    unharmed(live, counting)


def test_second_agent_on_the_same_libvirt_is_refused(live: Live, counting: dict[str, Any]) -> None:
    host = live.lab.host("h1")
    command = live.cluster.lines.agent(host, live.cluster.new_token(), 2)
    command[command.index("--name") + 1] = "intruder"
    command[command.index("--state") + 1] = "/var/lib/hpgreedy/intruder"
    done = host.run(command, timeout=60, check=False)
    assert done.returncode == 1
    assert "already as host h1" in done.stderr
    assert sorted(h["name"] for h in live.ask("host", "list")) == ["h1", "h2", "h3"]
    unharmed(live, counting)
