"""No VM runs twice: libvirt itself refuses a second start, and no moment of a hand-over is left."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from protocol.commands import CommandError, VmPlan
from tests.live.libvirt_bench import FRESH_POOL, POOL, Bench, bench_of, until

pytestmark = pytest.mark.live
SPEECHLESS = """
table inet speechless {
  chain out {
    type filter hook output priority 0;
    tcp sport { 16509, 16514 } meta length > 120 drop
  }
}
"""


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp() / "locks-state"


@pytest.fixture(scope="module")
def shared(state: Path) -> Iterator[Bench]:
    yield from bench_of("locks-shared", "shared", state, POOL)


@pytest.fixture(scope="module")
def local(state: Path) -> Iterator[Bench]:
    yield from bench_of("locks-local", "local", state, FRESH_POOL)


def planned(bench: Bench, name: str, number: int, *, disk: bool) -> VmPlan:
    plan = bench.plan(name, number)
    return plan if disk else msgspec.structs.replace(plan, image=None)


def refused_start(bench: Bench, host: str, name: str) -> str:
    done = bench.hosts[host].run(["virsh", "-c", "qemu:///system", "start", name], check=False)
    assert done.returncode != 0
    return done.stderr


def define_as_on(bench: Bench, source: str, target: str, name: str) -> None:
    xml = bench.hosts[source].virsh("dumpxml", "--inactive", name)
    bench.hosts[target].run(["virsh", "-c", "qemu:///system", "define", "/dev/stdin"], text=xml)


def heartbeats(bench: Bench, host: str, plan: VmPlan) -> int:
    """The last count that the guest has written to its console on that host; 0 = none."""
    log = bench.hosts[host].data_folder / f"var/log/libvirt/qemu/hpg-{plan.uuid}.console.log"
    counts = re.findall(r"count=(\d+)", log.read_text(errors="replace")) if log.exists() else []
    return int(counts[-1]) if counts else 0


def running_at(bench: Bench, plan: VmPlan) -> list[str]:
    """Where the guest's heart beats, as the guest itself says, whatever libvirt thinks."""
    before = {host: heartbeats(bench, host, plan) for host in bench.hosts}
    time.sleep(4)
    return [host for host, count in before.items() if heartbeats(bench, host, plan) > count]


def qemus(bench: Bench, host: str, plan: VmPlan) -> int:
    listed = bench.hosts[host].run(["pgrep", "-c", "-f", f"qemu.*{plan.uuid}"], check=False)
    return int(listed.stdout.strip() or 0)


@pytest.mark.parametrize("disk", [True, False], ids=["disk", "diskless"])
def test_libvirt_refuses_a_second_start_on_another_host(shared: Bench, disk: bool) -> None:
    plan = planned(shared, "once", 1, disk=disk)
    before = shared.boot(plan)
    assert shared.facts["h1"].guards["locks"] == "on"
    define_as_on(shared, "h1", "h2", "once")
    assert "lock" in refused_start(shared, "h2", "once")
    if not disk:
        assert shared.drivers["h2"].refusal("runtime.start", plan.uuid).code == "busy"
        assert shared.drivers["h2"].refusal("runtime.remove", plan.uuid, True).code == "busy"
    else:
        shared.hosts["h2"].virsh("undefine", "once")

    shared.drivers["h2"].call("mover.prepare", plan, False)
    shared.drivers["h1"].migrate(shared.order(plan, "h2", copy=False))
    define_as_on(shared, "h2", "h1", "once")
    assert "lock" in refused_start(shared, "h1", "once")
    shared.hosts["h1"].virsh("undefine", "once")
    after = shared.ask(plan, "verify")
    assert (after["start_id"], after["mem"]) == (before["start_id"], "ok")

    shared.drivers["h2"].call("runtime.destroy", plan.uuid)
    shared.drivers["h2"].call("runtime.start", plan.uuid)
    until(lambda: shared.ask(plan), "it starts once its lock is free")
    shared.drivers["h2"].call("runtime.destroy", plan.uuid)
    shared.drivers["h2"].call("runtime.remove", plan.uuid, True)
    left = [path.name for path in (shared.folder("h1") / ".locks").iterdir() if plan.uuid in path.name]
    assert left == []


@pytest.mark.parametrize("kind", ["diskless", "disk", "copied"])
def test_target_libvirtd_killed_just_after_it_took_over(shared: Bench, local: Bench, kind: str) -> None:
    bench = local if kind == "copied" else shared
    copy = kind == "copied"
    one, two = bench.drivers["h1"], bench.drivers["h2"]
    plan = planned(bench, f"twice-{kind}", 20, disk=kind != "diskless")
    bench.boot(plan)
    two.call("images.ensure", bench.image, bench.read)
    two.call("mover.prepare", plan, copy)
    two.events.clear()
    one.progress.clear()
    taken = ("suspended", "paused") if copy else ("resumed", "running")
    order = msgspec.structs.replace(bench.order(plan, "h2", copy=copy, bandwidth=15), hold=copy)
    wait = one.begin_migration(order)
    until(lambda: one.progress and one.progress[-1].processed, "memory is on its way")
    # The target takes over, its last answer never leaves, and its libvirtd dies.
    bench.hosts["h2"].run(["nft", "-f", "-"], text=SPEECHLESS)
    try:
        until(lambda: taken in [(e.event, e.state) for e in two.events if e.uuid == plan.uuid], "taken over")
        bench.lab.kill_libvirtd("h2")
        with pytest.raises(CommandError) as caught:
            wait()
    finally:
        bench.hosts["h2"].run(["nft", "delete", "table", "inet", "speechless"])
    print(f"\nthe source heard: {caught.value.message}")
    assert (qemus(bench, "h1", plan), qemus(bench, "h2", plan)) == (1, 1), "both stand: the moment was hit"
    alive = running_at(bench, plan)
    assert alive == (["h1"] if copy else ["h2"]), "the source goes on, or what holds the lock"
    refused = bench.hosts["h1"].run(["virsh", "-c", "qemu:///system", "resume", f"twice-{kind}"], check=False)
    if not copy:
        assert "lock" in refused.stderr, refused
    bench.lab.start_libvirtd("h2")
    until(lambda: two.closed.get(timeout=30), "the loss is noticed")
    two.connect()
    assert running_at(bench, plan) == alive
    there = two.call("runtime.inspect", plan.uuid)
    here = one.call("runtime.inspect", plan.uuid)
    assert (here.state, there.state) == (("running", "paused") if copy else ("paused", "running"))
    assert here.handed_over is not copy
    for driver in (one, two):
        driver.call("runtime.destroy", plan.uuid)
    for driver in (one, two):
        driver.call("runtime.remove", plan.uuid, True)


def test_a_held_vm_goes_on_by_itself_when_its_source_is_gone(local: Bench) -> None:
    one, two = local.drivers["h1"], local.drivers["h2"]
    plan = planned(local, "held", 30, disk=True)
    before = local.boot(plan)
    two.call("images.ensure", local.image, local.read)
    two.call("mover.prepare", plan, True)
    two.events.clear()
    one.migrate(msgspec.structs.replace(local.order(plan, "h2", copy=True), hold=True))
    there = two.call("runtime.inspect", plan.uuid)
    assert (there.state, one.call("runtime.inspect", plan.uuid).present) == ("running", False)
    until(lambda: ("resumed", "unpaused") in [(e.event, e.detail) for e in two.events], "it goes on")
    seen = [(event.event, event.detail) for event in two.events if event.uuid == plan.uuid]
    assert seen.index(("suspended", "paused")) < seen.index(("resumed", "unpaused")), seen
    two.call("runtime.resume", plan.uuid)
    after = local.ask(plan, "verify")
    assert (after["start_id"], after["mem"], after["disk"]) == (before["start_id"], "ok", "ok")
    two.call("runtime.destroy", plan.uuid)
    assert two.refusal("runtime.resume", plan.uuid).code == "refused"
    two.call("runtime.remove", plan.uuid, True)
    one.call("runtime.remove", plan.uuid, True)
