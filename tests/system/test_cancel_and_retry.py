"""Operations cancelled and retried by the real programs on simulated hosts; the coordinator is killed too."""

from __future__ import annotations

import json
from typing import Any

from tests.system.conftest import System


def vm(name: str, memory: float = 0.5, **more: object) -> dict[str, object]:
    return {"id": name, "cpu": 1, "memory": memory, **more}


def submit(system: System, *vms: dict[str, object], options: tuple[str, ...] = ("--wait",)) -> int:
    return int(system.ask("submit", "-", *options, text=json.dumps({"vms": vms}))["operations"][0]["id"])


def shown(system: System, number: int) -> dict[str, Any]:
    found: dict[str, Any] = system.ask("op", "show", str(number))
    return found


def test_a_slow_migration_is_cancelled_and_the_coordinator_killed(system: System) -> None:
    submit(system, vm("slow", host="s1"))
    started = system.ask("vm", "migrate", "slow", "--to", "s2", "--bandwidth", "1", "--no-wait")
    number = started["operations"][0]["id"]
    system.wait_for("it moves", lambda: shown(system, number)["state"] == "execution")
    refused = system.client("vm", "delete", "slow")
    assert refused.returncode == 1
    asked = system.ask("op", "cancel", str(number), "--no-wait")
    assert asked["operations"][0]["cancelled_by"] == "local-admin"
    system.kill("coordinator")
    system.start_coordinator()
    ended = system.client("op", "cancel", str(number), "--timeout", "30")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    op = shown(system, number)
    assert (op["state"], op["ok"], op["cancelled_by"]) == ("cancelled", False, "local-admin")
    assert "slow is at s1, it goes on there" in op["error"]
    assert "local-admin" in [step["by"] for step in op["history"] if "asked for it" in step["note"]]
    stayed = system.ask("vm", "show", "slow")
    assert (stayed["host"], stayed["operation"]) == ("s1", None)
    again = system.client("op", "cancel", str(number))
    assert again.returncode == 0, again.stderr

    system.wait_for("s1 says it runs", lambda: system.ask("vm", "show", "slow")["state"] == "running")
    retried = system.ask("op", "retry", str(number), "--no-wait")["operations"][0]
    assert (retried["retry_of"], retried["source"], retried["target"]) == (number, "s1", "s2")
    system.wait_for("it moves", lambda: shown(system, retried["id"])["state"] == "execution")
    assert system.client("op", "cancel", str(retried["id"])).returncode == 0
    system.ask("vm", "delete", "slow", "--force")


def test_a_queued_create_is_cancelled(system: System) -> None:
    number = submit(system, vm("queued"), options=("--algorithm", "delayed"))
    assert shown(system, number)["state"] == "waiting"
    done = system.client("op", "cancel", str(number))
    assert done.returncode == 0, done.stderr
    assert "queued" in done.stdout
    assert system.ask("vm", "list") == []
    late = system.client("op", "watch", str(number))
    assert (late.returncode, "was cancelled" in late.stderr) == (1, True)


def test_a_guest_that_does_not_stop_goes_on_when_the_stop_is_cancelled(system: System) -> None:
    submit(system, vm("stubborn", labels={"simulated.shutdown": "ignore"}))
    started = system.ask("vm", "stop", "stubborn", "--force", "--grace", "3600", "--no-wait")
    number = started["operations"][0]["id"]
    done = system.client("op", "cancel", str(number), "--timeout", "30")
    assert done.returncode == 0, done.stdout + done.stderr
    assert system.ask("vm", "show", "stubborn")["state"] == "running"
    assert system.ask("vm", "show", "stubborn")["desired"] == "running"
    system.ask("vm", "delete", "stubborn", "--force")


def test_a_failed_create_is_retried_and_what_is_done_is_not_cancelled(system: System) -> None:
    failing = vm("fails", labels={"simulated.start": "fail"})
    failed = system.client("submit", "-", "--wait", "--json", text=json.dumps({"vms": [failing]}))
    assert failed.returncode == 1
    number = json.loads(failed.stdout)["operations"][0]["id"]
    retried = system.client("op", "retry", str(number), "--json")
    assert retried.returncode == 1
    op = json.loads(retried.stdout)["operations"][0]
    assert (op["retry_of"], op["vm"], op["state"]) == (number, "fails", "failed")
    assert f"operation {number}" in system.client("op", "show", str(op["id"])).stdout

    good = submit(system, vm("good"))
    refused = system.client("op", "cancel", str(good))
    assert (refused.returncode, "has ended already" in refused.stderr) == (1, True)
    nothing = system.client("op", "retry", str(good))
    assert (nothing.returncode, "nothing to do again" in nothing.stderr) == (1, True)
    system.ask("vm", "delete", "good")
