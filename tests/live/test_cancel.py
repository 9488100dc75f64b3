"""Operations cancelled on real hosts: a live migration leaves its guest where and as it was."""

from __future__ import annotations

from tests.live.conftest import Live
from tests.live.test_main_job import small


def test_a_throttled_migration_is_cancelled_and_the_guest_goes_on(live: Live) -> None:
    live.submit([small("stays", host="h1", kernel={"cmdline": "hpg.dirty=4 hpg.area=32"})])
    live.wait_booted("stays")
    before = live.count("stays")
    asked = live.ask("vm", "migrate", "stays", "--to", "h2", "--bandwidth", "1", "--no-wait")
    number = str(asked["operations"][0]["id"])
    live.wait_for("it moves", lambda: live.ask("op", "show", number)["progress"] is not None)
    moving = live.ask("op", "show", number)
    assert (moving["state"], moving["done"]) == ("execution", False)

    done = live.raw("op", "cancel", number, "--timeout", "60")
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{live.logs()}"
    op = live.ask("op", "show", number)
    assert (op["state"], op["ok"]) == ("cancelled", False), op
    assert "stays is at h1, it goes on there" in op["error"]
    live.wait_for("it is shown running", lambda: live.vms()["stays"]["state"] == "running")
    assert live.vms()["stays"]["host"] == "h1"
    after = live.count("stays")
    assert after["start_id"] == before["start_id"]
    assert after["count"] > before["count"]
    assert (after["mem"], after["disk"]) == ("ok", "ok")
    found = live.virsh_list("--all")
    assert [name for name, names in found.items() if "stays" in names] == ["h1"]
    live.wait_for("nothing is held on h2", lambda: live.ask("host", "show", "h2")["memory_allocated"] == 0)

    moved = live.ask("vm", "migrate", "stays", "--to", "h2")["operations"][0]
    assert moved["ok"], moved
    assert live.count("stays")["start_id"] == before["start_id"]


def test_a_stop_is_cancelled_before_the_guest_is_switched_off(live: Live) -> None:
    # Without the driver of the power button a guest goes on until it is switched off.
    live.submit([small("deaf", host="h1", kernel={"cmdline": "module_blacklist=button"})])
    live.wait_booted("deaf")
    before = live.count("deaf")
    asked = live.ask("vm", "stop", "deaf", "--force", "--grace", "600", "--no-wait")
    number = str(asked["operations"][0]["id"])
    done = live.raw("op", "cancel", number, "--timeout", "60")
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{live.logs()}"
    assert live.ask("op", "show", number)["state"] == "cancelled"
    after = live.count("deaf")
    assert after["start_id"] == before["start_id"]
    assert after["count"] > before["count"]
