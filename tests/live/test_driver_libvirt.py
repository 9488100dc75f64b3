"""The libvirt driver on real hosts: each host has its own driver, in a process inside that host."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from lab import guest as lab_guest
from protocol.commands import CommandError, Stamp, VmPlan
from protocol.spec import CloudInit, Disk, Memory, Nic, VmSpec, decode_spec
from tests.live.libvirt_bench import FRESH_POOL, POOL, Bench, Host, bench_of, until

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all drivers: they are on one machine, and one of them trying KVM is enough."""
    return tmp_path_factory.getbasetemp() / "driver-state"


@pytest.fixture(scope="module")
def shared(state: Path) -> Iterator[Bench]:
    yield from bench_of("driver-shared", "shared", state, POOL)


@pytest.fixture(scope="module")
def local(state: Path) -> Iterator[Bench]:
    yield from bench_of("driver-local", "local", state, FRESH_POOL)


def reported(plan: VmPlan) -> VmSpec:
    """The spec as a report carries it: without what may be long."""
    return msgspec.structs.replace(plan.spec, cloud_init=None, labels={})


def test_a_host_says_what_it_is(shared: Bench) -> None:
    facts = shared.facts["h1"]
    assert facts.hypervisor_uuid == shared.hosts["h1"].host_uuid
    assert facts.migrate_uri == f"qemu+tcp://{shared.hosts['h1'].address}/system"
    assert facts.bridges == ("br0",)
    assert set(facts.versions) == {"libvirt", "qemu", "kernel"}
    assert facts.accelerator.kind in ("kvm", "qemu")
    assert facts.accelerator.reason
    capacity = shared.drivers["h1"].call("meter.capacity")
    assert capacity.cpus == os.cpu_count()
    assert capacity.memory_mib > 1000
    shared.drivers["h1"].call("meter.usage")
    assert shared.drivers["h1"].call("meter.usage").memory_used_mib > 0


def test_hosts_on_one_storage_agree_on_its_identity_and_others_do_not(shared: Bench, local: Bench) -> None:
    ids = {
        (name, host): made.drivers[host].call("images.pools")[0].storage_id
        for name, made in (("shared", shared), ("local", local))
        for host in ("h1", "h2")
    }
    assert ids["shared", "h1"] == ids["shared", "h2"]
    assert len({ids["shared", "h1"], ids["local", "h1"], ids["local", "h2"]}) == 3


def test_a_vm_lives_moves_on_shared_storage_and_leaves_nothing(shared: Bench) -> None:
    one, two = shared.drivers["h1"], shared.drivers["h2"]
    plan = shared.plan(
        "web",
        1,
        disks=(Disk(size=Memory(32)),),
        cloud_init=CloudInit(user="eva", ssh_keys=("ssh-ed25519 AAAA eva",), hostname="web.example"),
    )
    before = shared.boot(plan)
    assert before["mem"] == "ok"

    one.call("runtime.provision", plan)
    one.call("runtime.start", plan.uuid)
    assert shared.ask(plan)["start_id"] == before["start_id"], "repeating both must change nothing"

    console = one.call("runtime.console_log", plan.uuid, "web", 4096)
    assert f"booted start_id={before['start_id']}" in console.text
    assert "seed hostname=web.example" in console.text
    assert len(one.call("runtime.console_log", plan.uuid, "web", 10).text) == 10

    report = until(lambda: one.report(plan.uuid), "the report")
    assert (report.state, report.ours, report.owner, report.operation) == ("running", True, "eva", "17")
    assert report.cluster == "test"
    # The report leaves out what may be long; the domain's own metadata has all of it.
    assert decode_spec(report.spec, VmSpec) == reported(plan)
    xml = shared.lab.host("h1").virsh("dumpxml", "web")
    assert "ssh-ed25519 AAAA eva" in xml
    assert (report.cpus, report.memory_mib, report.memory_maximum_mib) == (1, 112, 112)
    assert report.cpu_seconds > 0
    assert report.macs == plan.macs
    until(lambda: one.report(plan.uuid).memory_used_mib > 0, "the balloon's figures")
    seen = [(event.event, event.state) for event in one.events if event.uuid == plan.uuid]
    assert ("defined", "shutoff") in seen
    assert ("started", "running") in seen

    refused = one.refusal("runtime.remove", plan.uuid, True)
    assert refused.code == "refused"
    assert "runs" in refused.message
    refused = two.refusal("runtime.remove", plan.uuid, True)
    assert refused.code == "busy", "the disks are those of a VM that runs on the other host"

    two.call("mover.prepare", plan, False)
    moved = one.migrate(shared.order(plan, "h2", copy=False))
    assert moved.transferred > 0
    assert moved.total_ms > 0
    assert moved.memory_total >= 112 * 1024 * 1024
    after = shared.ask(plan, "verify")
    assert (after["start_id"], after["mem"], after["disk"]) == (before["start_id"], "ok", "ok")
    assert after["count"] > before["count"]
    assert not one.call("runtime.inspect", plan.uuid).present
    there = two.call("runtime.inspect", plan.uuid)
    assert (there.state, there.persistent, there.job) == ("running", True, False)
    assert decode_spec(two.report(plan.uuid).spec, VmSpec) == reported(plan)
    assert [event for event in one.events if event.uuid == plan.uuid][-1].state is None
    assert one.refusal("mover.migrate", shared.order(plan, "h2", copy=False), print).code == "not_found"

    two.call("runtime.shutdown", plan.uuid, 60.0, False)
    assert two.call("runtime.inspect", plan.uuid).state == "shutoff"
    deleted = two.call("runtime.remove", plan.uuid, True)
    assert {Path(path).name for path in deleted} >= {
        f"{plan.uuid}-root.qcow2",
        f"{plan.uuid}-disk1.qcow2",
        f"{plan.uuid}-seed.iso",
    }
    assert shared.files_of("h2", plan) == []
    assert two.call("runtime.remove", plan.uuid, True) == ()
    assert not two.call("runtime.inspect", plan.uuid).present


def test_disks_are_copied_where_storage_is_not_shared(local: Bench) -> None:
    one, two = local.drivers["h1"], local.drivers["h2"]
    plan = local.plan("copied", 2, disks=(Disk(size=Memory(32)),), cloud_init=CloudInit(user="eva"))
    before = local.boot(plan)

    two.call("images.ensure", local.image, local.read)
    refused = two.refusal("mover.prepare", plan, False)
    assert refused.code == "refused"
    assert "not shared" in refused.message
    two.call("mover.prepare", plan, True)
    two.call("mover.prepare", plan, True)
    moved = one.migrate(local.order(plan, "h2", copy=True))
    assert moved.transferred > 0
    after = local.ask(plan, "verify")
    assert (after["start_id"], after["mem"], after["disk"]) == (before["start_id"], "ok", "ok")
    assert not one.call("runtime.inspect", plan.uuid).present

    overlay = local.hosts["h2"].run(
        ["qemu-img", "info", "-U", "--output=json", str(local.pool / f"{plan.uuid}-root.qcow2")]
    )
    assert json.loads(overlay.stdout)["backing-filename"].startswith(str(local.pool / "image-test-guest-"))
    assert local.files_of("h1", plan) == local.files_of("h2", plan)
    assert one.call("runtime.remove", plan.uuid, True) != (), "the source's copies are stale and ours"
    assert local.files_of("h1", plan) == []
    assert local.ask(plan)["start_id"] == before["start_id"]

    until(lambda: local.ask(plan)["count"] > 30, "the guest has written to its disk")
    local.hosts["h2"].virsh("suspend", "copied")
    one.call("mover.prepare", plan, True)
    two.migrate(local.order(plan, "h1", copy=True))
    assert one.call("runtime.inspect", plan.uuid).state == "paused"
    two.call("runtime.remove", plan.uuid, True)
    one.call("runtime.destroy", plan.uuid)
    one.call("runtime.start", plan.uuid)
    again = until(lambda: local.ask(plan), "it boots from the copied disk")
    assert again["start_id"] != before["start_id"]
    text = one.call("runtime.console_log", plan.uuid, "copied", 65536).text
    assert "disk last count=" in text, "what it wrote on the other host, since it was paused ever after"
    one.call("runtime.destroy", plan.uuid)
    one.call("runtime.remove", plan.uuid, True)


def test_a_migration_reports_and_is_followed_by_a_second_caller_and_aborted(local: Bench) -> None:
    one, two = local.drivers["h1"], local.drivers["h2"]
    plan = local.plan("slow", 3)
    before = local.boot(plan)
    two.call("images.ensure", local.image, local.read)
    two.call("mover.prepare", plan, True)
    one.progress.clear()
    first = one.begin_migration(local.order(plan, "h2", copy=True, bandwidth=2))
    until(lambda: one.call("runtime.inspect", plan.uuid).job, "the job")
    second = one.begin_migration(local.order(plan, "h2", copy=True, bandwidth=2))
    until(lambda: one.report(plan.uuid).state == "outgoing", "outgoing at the source")
    until(lambda: two.report(plan.uuid) and two.report(plan.uuid).state == "incoming", "incoming")
    until(lambda: len(one.progress) > 3 and one.progress[-1].remaining > 0, "progress")
    assert two.refusal("runtime.start", plan.uuid).code == "busy"
    one.call("mover.abort", plan.uuid)
    for wait in (first, second):
        with pytest.raises(CommandError) as caught:
            wait()
        assert caught.value.code == "aborted", caught.value.message
        assert "running on this host" in caught.value.message
    one.call("mover.abort", plan.uuid)
    assert one.call("runtime.inspect", plan.uuid).state == "running"
    until(lambda: not two.call("runtime.inspect", plan.uuid).present, "clean target")
    assert local.ask(plan)["start_id"] == before["start_id"]

    two.call("mover.prepare", plan, True)
    one.begin_migration(local.order(plan, "h2", copy=True, bandwidth=15))
    until(lambda: one.call("runtime.inspect", plan.uuid).job, "the job")
    one.remote.kill()
    one = local.new_driver("h1")
    assert one.report(plan.uuid).state == "outgoing"
    followed = one.migrate(local.order(plan, "h2", copy=True))
    assert followed.total_ms > 0, "whoever follows learns the figures too"
    assert followed.transferred > 0
    assert not one.call("runtime.inspect", plan.uuid).present
    assert local.ask(plan, "verify")["start_id"] == before["start_id"]
    two.call("runtime.destroy", plan.uuid)
    two.call("runtime.remove", plan.uuid, True)
    one.call("runtime.remove", plan.uuid, True)


def test_a_vm_without_disks_moves_either_way(local: Bench) -> None:
    one, two = local.drivers["h1"], local.drivers["h2"]
    plan = msgspec.structs.replace(local.plan("bare", 10), image=None)
    before = local.boot(plan)
    assert local.files_of("h1", plan) == []
    two.call("images.ensure", local.image, local.read)
    two.call("mover.prepare", plan, True)
    one.migrate(local.order(plan, "h2", copy=True))
    one.call("mover.prepare", plan, False)
    two.migrate(local.order(plan, "h1", copy=False))
    after = local.ask(plan, "verify")
    assert (after["start_id"], after["mem"], after["disk"]) == (before["start_id"], "ok", "none")
    one.call("runtime.destroy", plan.uuid)
    one.call("runtime.remove", plan.uuid, True)


def test_a_migration_to_nowhere_fails_and_the_vm_goes_on(shared: Bench) -> None:
    one = shared.drivers["h1"]
    plan = shared.plan("stays", 4)
    before = shared.boot(plan)
    order = msgspec.structs.replace(
        shared.order(plan, "h2", copy=False), target_uri=f"qemu+tcp://{shared.hosts['h2'].address}:1/system"
    )
    refused = one.refusal("mover.migrate", order, print)
    assert refused.code == "failed"
    assert "running on this host" in refused.message
    assert one.call("alive")
    assert shared.ask(plan)["start_id"] == before["start_id"]
    one.call("runtime.destroy", plan.uuid)
    one.call("runtime.remove", plan.uuid, True)


def test_a_lost_libvirtd_is_noticed_and_met_again(shared: Bench) -> None:
    one = shared.drivers["h1"]
    plan = shared.plan("steady", 5)
    before = shared.boot(plan)
    shared.lab.kill_libvirtd("h1")
    assert "libvirt" in one.closed.get(timeout=30)
    assert not one.call("alive")
    assert one.refusal("meter.domains").code == "hypervisor_down"
    assert one.refusal("runtime.start", plan.uuid).code == "hypervisor_down"
    refused = one.refusal("connect", print, print)
    assert refused.code == "hypervisor_down"
    assert "qemu:///system" in refused.message
    shared.lab.start_libvirtd("h1")
    assert one.connect().hypervisor_uuid == shared.hosts["h1"].host_uuid
    assert one.report(plan.uuid).state == "running"
    assert one.report(plan.uuid).owner == "eva"
    assert shared.ask(plan)["start_id"] == before["start_id"]
    one.events.clear()
    one.call("runtime.destroy", plan.uuid)
    until(lambda: ("stopped", "shutoff") in [(e.event, e.state) for e in one.events], "events again")
    assert [e.event for e in one.events].count("stopped") == 1, "the old callbacks are gone"
    one.call("runtime.remove", plan.uuid, True)
    assert one.closed.empty()


def test_a_frozen_libvirtd_does_not_hold_anyone_up_for_ever(shared: Bench) -> None:
    two = shared.drivers["h2"]
    shared.lab.kill_libvirtd("h2", 19)
    try:
        assert two.refusal("meter.domains").code == "hypervisor_down"
        assert two.closed.get(timeout=30)
        assert two.refusal("connect", print, print).code == "hypervisor_down"
    finally:
        shared.lab.kill_libvirtd("h2", 18)
    until(lambda: _connects(two), "a new connection")
    two.call("meter.domains")


def _connects(driver: Host) -> bool:
    try:
        driver.connect()
    except CommandError:
        return False
    return True


def test_a_killed_qemu_is_reported_as_crashed(shared: Bench) -> None:
    one = shared.drivers["h1"]
    plan = shared.plan("victim", 6)
    shared.boot(plan)
    host = shared.hosts["h1"]
    pid = next((host.run_folder / "libvirt/qemu").glob("victim.pid")).read_text()
    host.run(["kill", "-9", pid.strip()])
    until(lambda: one.report(plan.uuid).state == "crashed", "crashed")
    assert ("stopped", "crashed") in [(e.event, e.state) for e in one.events if e.uuid == plan.uuid]
    one.call("runtime.start", plan.uuid)
    until(lambda: shared.ask(plan), "it starts again")
    host.virsh("suspend", "victim")
    until(lambda: one.report(plan.uuid).state == "paused", "paused")
    refused = one.refusal("runtime.shutdown", plan.uuid, 0.5, False)
    assert refused.code == "timeout"
    assert "still runs" in refused.message
    assert one.call("runtime.inspect", plan.uuid).state == "paused"
    one.call("runtime.shutdown", plan.uuid, 0.5, True)
    assert one.call("runtime.inspect", plan.uuid).state == "shutoff"
    one.call("runtime.remove", plan.uuid, True)


def test_names_and_networks_that_do_not_fit_are_refused_with_a_sentence(shared: Bench) -> None:
    one = shared.drivers["h1"]
    one.call("images.ensure", shared.image, shared.read)
    plan = shared.plan("twice", 7)
    one.call("runtime.provision", plan)
    other = msgspec.structs.replace(plan, uuid=str(uuid.uuid4()))
    refused = one.refusal("runtime.provision", other)
    assert refused.code == "exists"
    assert plan.uuid in refused.message
    assert one.refusal("mover.prepare", plan, True).code == "exists"
    wrong = shared.plan("lost", 8, nics=(Nic(bridge="br7"),))
    refused = one.refusal("runtime.provision", wrong)
    assert refused.code == "refused"
    assert "bridge br7" in refused.message
    assert shared.files_of("h1", wrong) == []
    assert one.refusal("images.delete", shared.image).code == "busy"
    one.call("runtime.remove", plan.uuid, True)
    assert one.refusal("runtime.start", plan.uuid).code == "not_found"


def test_a_foreign_domain_is_shown_and_adopted(shared: Bench) -> None:
    one, host = shared.drivers["h1"], shared.hosts["h1"]
    xml = lab_guest.domain_xml(lab_guest.build(), "old", shared.lab.net, "52:54:00:00:09:01")
    host.run(["virsh", "-q", "define", "/dev/stdin"], text=xml)
    found = until(lambda: next((r for r in one.call("meter.domains") if r.name == "old"), None), "the report")
    assert (found.ours, found.state, found.spec) == (False, "shutoff", None)
    stamp = Stamp(operation="3", owner="eva", cluster="test")
    adopted = one.call("runtime.adopt", "old", stamp)
    assert adopted.uuid == found.uuid
    assert (adopted.spec.cpu, adopted.spec.memory.mib) == (1, 96)
    assert adopted.spec.nics == (Nic(bridge="br0", mac="52:54:00:00:09:01"),)
    assert one.call("runtime.adopt", "old", stamp) == adopted
    other = msgspec.structs.replace(stamp, cluster="another")
    assert one.refusal("runtime.adopt", "old", other).code == "exists"
    report = until(lambda: one.report(found.uuid).ours and one.report(found.uuid), "the stamp")
    assert decode_spec(report.spec, VmSpec) == adopted.spec
    one.call("runtime.remove", found.uuid, False)
    assert one.refusal("runtime.adopt", "old", stamp).code == "not_found"


def test_an_interrupted_provision_is_repeated(shared: Bench) -> None:
    one, host = shared.drivers["h1"], shared.hosts["h1"]
    plan = shared.plan("again", 9)
    one.call("images.ensure", shared.image, shared.read)
    remains = shared.folder("h1") / f"{plan.uuid}-root.qcow2.0badc0de.part"
    remains.write_bytes(b"half")
    one.call("runtime.provision", plan)
    assert shared.files_of("h1", plan) == [f"{plan.uuid}-root.qcow2"]
    inode = (shared.folder("h1") / f"{plan.uuid}-root.qcow2").stat().st_ino
    host.virsh("undefine", "again")
    one.call("runtime.provision", plan)
    assert (shared.folder("h1") / f"{plan.uuid}-root.qcow2").stat().st_ino == inode, "a complete disk is kept"
    one.call("runtime.remove", plan.uuid, True)
