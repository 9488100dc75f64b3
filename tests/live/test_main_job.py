"""The main job on real hosts: placed, booted, listed, moved while it counts, deleted, room made."""

from __future__ import annotations

import itertools
import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpgreedy.model import Claim, Cluster, Demand, Host
from hpgreedy.placement import Placed, decide
from lab.quickstart.real import fetch_count
from protocol.spec import VmSpec, decode_spec
from tests.live.conftest import PROJECT, Live


def small(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "cpu": 1, "memory": "128MiB", "max_memory": "128MiB", **more}


def expected_hosts(live: Live, vms: list[dict[str, Any]], algorithm: str) -> dict[str, str]:
    """Where the algorithm puts them, worked out here from what the hosts offer."""
    hosts = {
        h["name"]: Host(key=h["name"], cpu=h["cpu"], memory=h["memory"], cpu_overcommit=h["cpu_overcommit"])
        for h in live.ask("host", "list")
    }
    cluster, placed = Cluster(hosts=hosts), {}
    for raw in vms:
        demand = Demand.of_spec(decode_spec(raw, VmSpec))
        answer = decide(cluster, demand, algorithm)
        assert isinstance(answer, Placed)
        placed[str(raw["id"])] = answer.host
        cluster = cluster.with_claim(Claim(demand=demand, host=answer.host))
    return placed


def test_nine_vms_over_three_hosts(live: Live) -> None:
    sizes = ["640MiB", "512MiB", "640MiB", "512MiB", "640MiB", "512MiB", "640MiB", "512MiB", "640MiB"]
    vms = [
        {"id": f"n{n}", "cpu": 1, "memory": size, "max_memory": size} for n, size in enumerate(sizes, start=1)
    ]
    wanted = expected_hosts(live, vms, "best_fit")
    assert set(wanted.values()) == {"h1", "h2", "h3"}, "the sizes must spread them over all hosts"
    live.submit(vms, "best_fit")
    assert {name: vm["host"] for name, vm in live.vms().items()} == wanted
    live.wait_booted(*wanted)
    by_host = {h: {n for n, host in wanted.items() if host == h} for h in ("h1", "h2", "h3")}
    assert live.virsh_list() == by_host
    uuids = {vm["uuid"] for vm in live.vms().values()}
    shown = {u for host in live.lab.hosts for u in host.virsh("list", "--uuid").split()}
    assert shown == uuids


def test_migration_while_a_client_keeps_fetching(live: Live, record_property: Any) -> None:
    live.submit([small("mover", host="h1")])
    live.wait_booted("mover")
    before = live.count("mover")
    address = live.address("mover")
    seen: list[tuple[float, dict[str, Any]]] = [(time.monotonic(), before)]
    stop = threading.Event()

    def fetch() -> None:
        while not stop.is_set():
            found = fetch_count(address)
            if found is not None:
                seen.append((time.monotonic(), found))
            time.sleep(0.02)

    thread = threading.Thread(target=fetch)
    thread.start()
    try:
        op = live.ask("vm", "migrate", "mover", "--to", "h2")["operations"][0]
        time.sleep(2)
    finally:
        stop.set()
        thread.join()
    assert op["ok"] is True
    assert op["outcome"]["total_ms"] > 0
    assert op["outcome"]["downtime_ms"] > 0
    counts = [found["count"] for _, found in seen]
    assert counts == sorted(counts)
    assert counts[-1] > before["count"]
    assert {found["start_id"] for _, found in seen} == {before["start_id"]}
    assert {found["mem"] for _, found in seen} == {"ok"}
    silence = max(b[0] - a[0] for a, b in itertools.pairwise(seen))
    print(f"\nlongest silence {silence:.2f} s, downtime {op['outcome']['downtime_ms']} ms, "
          f"total {op['outcome']['total_ms']} ms")  # fmt: skip
    record_property("longest_silence_s", silence)
    assert silence < 10
    assert live.vms()["mover"]["host"] == "h2"
    assert "mover" in live.virsh_list()["h2"]
    assert "mover" not in live.virsh_list("--all")["h1"]


def test_delete_removes_domain_and_disk(live: Live) -> None:
    live.submit([small("gone", host="h1", disks=[{"size": "64MiB"}]), small("stays", host="h1")])
    live.wait_booted("gone", "stays")
    pool = live.lab.host("h1").pool_folder
    uuid, other = live.vms()["gone"]["uuid"], live.vms()["stays"]["uuid"]
    files = {path.name for path in pool.iterdir()}
    assert {name for name in files if name.startswith(uuid)}, f"the VM has files in {files}"
    live.ask("vm", "delete", "gone", "--grace", "30")
    left = {path.name for path in pool.iterdir()}
    assert not {name for name in left if name.startswith(uuid)}
    assert {name for name in left if name.startswith(other)}
    assert live.virsh_list("--all")["h1"] == {"stays"}
    assert set(live.vms()) == {"stays"}
    assert live.count("stays")["mem"] == "ok"


def test_room_is_made_by_a_live_migration(live: Live) -> None:
    """Three hosts of 2 GiB with 0.75 GiB free each: nothing of 1.2 GiB fits until one VM moves."""
    free = {h["name"]: h["memory"] for h in live.ask("host", "list")}
    assert all(size >= 2000 for size in free.values())
    blocks = [small(f"b{n}", memory="640MiB", max_memory="640MiB", host=f"h{n}") for n in (1, 2, 3)]
    moved = [small(f"m{n}", memory="640MiB", max_memory="640MiB", host=f"h{n}") for n in (1, 2, 3)]
    live.submit(blocks + moved)
    big = {"id": "big", "cpu": 1, "memory": "1216MiB", "max_memory": "1216MiB"}
    refused = live.raw("submit", "-", "--algorithm", "best_fit", text=json.dumps(big))
    assert refused.returncode == 1
    assert "largest that would fit" in refused.stderr
    live.wait_booted("b1", "b2", "b3", "m1", "m2", "m3")
    starts = {name: live.count(name)["start_id"] for name in ("b1", "b2", "b3", "m1", "m2", "m3")}
    before = {name: vm["host"] for name, vm in live.vms().items()}
    live.submit([big], "greedy")
    after = {name: vm["host"] for name, vm in live.vms().items()}
    went = [name for name in before if before[name] != after[name]]
    assert len(went) == 1
    assert after["big"] == before[went[0]]
    ops = live.ask("op", "list")
    create = next(op for op in ops if op["kind"] == "create" and op["vm"] == "big")
    child = next(op for op in ops if op["parent"] == create["id"])
    assert (child["kind"], child["ok"], child["vm"]) == ("migrate", True, went[0])
    shown = live.ask("op", "show", str(create["id"]))
    provisioning = next(step for step in shown["history"] if step["state"] == "provisioning")
    finished = next(
        s for s in live.ask("op", "show", str(child["id"]))["history"] if s["state"] == "completed"
    )
    assert provisioning["at"] >= finished["at"], "the move ends before the new VM is begun"
    live.wait_booted("big")
    assert {name: live.count(name)["start_id"] for name in starts} == starts


@pytest.mark.parametrize("verb", ["stop"])
def test_stop_asks_the_guest_and_start_runs_it_again(live: Live, verb: str) -> None:
    live.submit([small("sleeper", host="h3")])
    live.wait_booted("sleeper")
    first = live.count("sleeper")["start_id"]
    live.ask("vm", verb, "sleeper", "--grace", "30")
    assert live.vms()["sleeper"]["state"] == "stopped"
    assert "sleeper" not in live.virsh_list()["h3"]
    assert "sleeper" in live.virsh_list("--all")["h3"]
    live.ask("vm", "start", "sleeper")
    again = live.count("sleeper", 60)
    assert again["start_id"] != first


def test_seed_example_is_submitted_and_runs(live: Live, tmp_path: Path) -> None:
    """The original project's own example, verbatim, on hosts whose configuration overcommits."""
    config = tmp_path / "agent.toml"
    config.write_text("[agent]\nmemory_overcommit = 8\ncpu_overcommit = 16\n")
    usual = live.cluster.lines
    live.restart_agents(replace(usual, agent_config=config, agent_extra=()))
    try:
        done = live.raw("submit", str(PROJECT / "examples/seed.json"), "--wait", timeout=240)
        assert done.returncode == 0, done.stderr
        assert "describe a simulation" in done.stderr
        vms = live.vms()
        sizes = {name: (vm["cpu"], vm["memory"]) for name, vm in vms.items()}
        assert sizes == {"vm1": (4, 8192), "vm2": (8, 16384)}
        live.wait_booted("vm1", "vm2", seconds=240)
        live.delete_all()
    finally:
        live.restart_agents(usual)


def test_a_disk_outside_the_pool_keeps_an_adopted_vm_where_it_is(live: Live) -> None:
    """The target may have another file of that name: nothing says that it is the same disk."""
    host = live.lab.host("h1")
    xml = (
        "<domain type='qemu'><name>local-disk</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>"
        "<os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>"
        "<devices><disk type='file' device='disk'>"
        "<driver name='qemu' type='raw'/><source file='/var/lib/libvirt/images/local.raw'/>"
        "<target dev='vda' bus='virtio'/></disk></devices></domain>"
    )
    for each in (host, live.lab.host("h2")):
        each.run(
            ["sh", "-c", "mkdir -p /var/lib/libvirt/images; truncate -s 1M /var/lib/libvirt/images/local.raw"]
        )
    host.run(["sh", "-c", "cat > /run/local.xml"], text=xml)
    host.virsh("create", "/run/local.xml")
    try:
        live.wait_for(
            "it is listed as foreign",
            lambda: "local-disk" in [d["name"] for d in live.ask("host", "show", "h1")["foreign"]],
        )
        live.ask("vm", "adopt", "h1", "local-disk")
        live.wait_for("it is shown running", lambda: live.vms()["local-disk"]["state"] == "running")
        refused = live.raw("vm", "migrate", "local-disk", "--to", "h2")
        assert refused.returncode == 1
        assert "not in the pool" in refused.stderr
        assert live.virsh_list() == {"h1": {"local-disk"}, "h2": set(), "h3": set()}
        assert live.vms()["local-disk"]["host"] == "h1"
    finally:
        host.virsh("destroy", "local-disk", check=False)


def test_cloud_init_seed_reaches_the_guest(live: Live) -> None:
    live.submit([small("seeded", cloud_init={"hostname": "named-here", "user": "ann"})])
    live.wait_booted("seeded")
    live.wait_for(
        "the guest reads its seed",
        lambda: "seed hostname=named-here" in live.ask("vm", "console-log", "seeded")["text"],
    )


def test_foreign_domain_is_listed_untouched_and_adopted(live: Live) -> None:
    host = live.lab.host("h2")
    xml = (
        "<domain type='qemu'><name>foreign</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>"
        "<os><type arch='x86_64' machine='q35'>hvm</type></os></domain>"
    )
    host.run(["sh", "-c", "cat > /run/foreign.xml"], text=xml)
    host.virsh("define", "/run/foreign.xml")
    try:
        live.wait_for(
            "the foreign domain is listed",
            lambda: [d["name"] for d in live.ask("host", "show", "h2")["foreign"]] == ["foreign"],
        )
        assert "foreign" not in live.vms()
        refused = live.raw("submit", "-", text=json.dumps(small("foreign", host="h2")))
        assert refused.returncode != 0
        live.ask("vm", "adopt", "h2", "foreign")
        adopted = live.vms()["foreign"]
        assert (adopted["host"], adopted["memory"], adopted["state"]) == ("h2", 64, "stopped")
        live.ask("vm", "delete", "foreign", "--force")
        assert "foreign" not in live.virsh_list("--all")["h2"]
    finally:
        host.virsh("undefine", "foreign", check=False)
