"""The lab itself, for real: needs root, libvirt and QEMU."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import guest
from lab.api import Lab, LabHost
from lab.errors import LabError
from lab.lifecycle import take_down
from lab.names import guest_ip
from lab.programs import Cluster

pytestmark = pytest.mark.live
PROJECT = Path(__file__).resolve().parent.parent.parent


def lab_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "lab", *arguments]


def run_lab(*arguments: str, timeout: float = 90) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        lab_command(*arguments), cwd=PROJECT, capture_output=True, text=True, timeout=timeout, check=False
    )


def leftovers(name: str) -> list[str]:
    """Whatever on this machine still speaks of the lab."""
    found = [
        str(path)
        for path in (Path("/run/hpgreedy-lab", name), Path("/var/lib/hpgreedy-lab", name))
        if path.exists()
    ]
    found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/hpgreedy-lab/{name}")]
    found += [
        line for line in Path("/proc/mounts").read_text().splitlines() if f"hpgreedy-lab/{name}/" in line
    ]
    found += [str(path) for path in Path("/run/lock/hpgreedy-lab").glob(f"{name}.lock")]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f'"lab": "{name}"'.encode() in (process / "cmdline").read_bytes():
                found.append(str(process))
            if f"hpgreedy-lab/{name}/" in (process / "mountinfo").read_text():
                found.append(f"{process} mounts")
        except OSError:
            continue
    return found


def interfaces_of(lab: Lab) -> set[str]:
    """Other labs may come and go meanwhile: only this one's slot counts."""
    ours = {lab.bridge, *(lab.state.place.veth(host.name) for host in lab.hosts)}
    return {path.name for path in Path("/sys/class/net").iterdir()} & ours


def answer(address: str, path: str = "/count", seconds: float = 60) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as reply:
                found: dict[str, Any] = json.load(reply)
                return found
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def create_guest(lab: Lab, host: LabHost, name: str, number: int, **options: Any) -> str:
    built = guest.build()
    disk = f"/var/lib/hpgreedy/pool/{name}.qcow2"
    host.run(["cp", str(built.disk), disk])
    mac = f"52:54:00:00:00:{number:02x}"
    file = lab.paths.data / f"{name}.xml"
    file.write_text(guest.domain_xml(built, name, lab.net, mac, disk=disk, **options))
    host.virsh("create", str(file))
    return guest_ip(mac, lab.net)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    made = Lab.up("pytest", hosts=3)
    try:
        yield made
    finally:
        made.down()
        assert leftovers("pytest") == []


def test_up_again_says_that_it_runs(lab: Lab) -> None:
    done = run_lab("up", "--name", lab.name)
    assert done.returncode == 0
    assert "already running" in done.stdout
    other = run_lab("up", "--name", lab.name, "--hosts", "2")
    assert other.returncode == 1
    assert "already runs with 3 hosts" in other.stderr


def test_hosts_are_different_hosts_reached_from_outside(lab: Lab) -> None:
    uuids = set()
    for host in lab.hosts:
        command = ["virsh", "-c", host.libvirt_uri, "capabilities"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        assert f"<uuid>{host.host_uuid}</uuid>" in done.stdout
        name = subprocess.run(
            [*command[:-1], "hostname"], capture_output=True, text=True, timeout=30, check=True
        )
        assert name.stdout.strip() == host.name
        uuids.add(host.host_uuid)
    assert len(uuids) == 3


def test_exec_passes_everything_through(lab: Lab) -> None:
    assert run_lab("exec", "--name", lab.name, "h2", "hostname").stdout == "h2\n"
    assert run_lab("exec", "--name", lab.name, "h2", "sh", "-c", "exit 7").returncode == 7
    assert run_lab("exec", "--name", lab.name, "h9", "true").returncode == 2
    assert run_lab("exec", "--name", lab.name, "h1", "no-such-command").returncode == 127
    echoed = subprocess.run(
        lab_command("exec", "--name", lab.name, "h1", "cat"),
        cwd=PROJECT, input="through", capture_output=True, text=True, timeout=20, check=True,
    )  # fmt: skip
    assert echoed.stdout == "through"
    names = lab.host("h1").run(["getent", "hosts", "h3"]).stdout
    assert names.split() == [lab.host("h3").address, "h3"]


def inside(host: LabHost, word: str) -> bool:
    return host.run(["pgrep", "-f", "-x", f"sleep {word}"], check=False).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_to_exec_reaches_the_command(lab: Lab, number: signal.Signals) -> None:
    host, word = lab.host("h1"), f"100{int(number)}"
    process = host.popen(["sleep", word], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        while not inside(host, word):
            time.sleep(0.02)
        process.send_signal(number)
        assert process.wait(timeout=5) == -number
        deadline = time.monotonic() + 3
        while inside(host, word):
            assert time.monotonic() < deadline


def test_the_command_sees_the_signal_and_decides(lab: Lab) -> None:
    script = "trap 'echo asked; exit 3' TERM; echo ready; while :; do sleep 0.05; done"
    with lab.host("h1").popen(["sh", "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.wait(timeout=5) == 3
        assert process.stdout.read() == "asked\n"


def test_a_dead_libvirtd_stays_dead_until_started(lab: Lab) -> None:
    lab.kill_libvirtd("h3")
    deadline = time.monotonic() + 3
    while lab.host("h3").libvirtd_alive():
        assert time.monotonic() < deadline
    status = json.loads(run_lab("status", "--name", lab.name, "--json").stdout)
    assert not status["healthy"]
    with pytest.raises(LabError, match="is not running"):
        lab.kill_libvirtd("h3")
    lab.start_libvirtd("h3")
    lab.host("h3").virsh("list")


def reachable(address: str) -> bool:
    try:
        socket.create_connection((address, 16509), timeout=2).close()
    except OSError:
        return False
    return True


def test_a_guests_tap_does_not_change_the_hosts_mac(lab: Lab) -> None:
    host = lab.host("h1")
    read = ["cat", "/sys/class/net/br0/address"]
    before = host.run(read).stdout
    host.run(["ip", "tuntap", "add", "low", "mode", "tap"])
    host.run(["ip", "link", "set", "low", "address", "02:00:00:00:00:01", "master", "br0"])
    assert host.run(read).stdout == before == f"{lab.state.place.mac('bridge', 'h1')}\n"
    host.run(["ip", "link", "del", "low"])


def test_cut_mend_and_limit(lab: Lab) -> None:
    address = lab.host("h2").address
    assert reachable(address)
    lab.cut("h2")
    assert not reachable(address)
    lab.mend("h2")
    lab.limit("h2", 200)
    assert "200Mbit" in lab.host("h2").run(["tc", "qdisc", "show", "dev", "eth0"]).stdout
    lab.limit("h2", None)
    lab.limit("h2", None)
    assert reachable(address)


def test_a_guest_boots_and_moves_live_and_shuts_down(lab: Lab) -> None:
    first, second = lab.host("h1"), lab.host("h2")
    begun = time.monotonic()
    address = create_guest(lab, first, "mover", 5)
    before = answer(address)
    booted = time.monotonic() - begun
    flags = ["--live", "--p2p", "--persistent", "--undefinesource", "--unsafe"]
    begun = time.monotonic()
    first.virsh("migrate", *flags, "mover", second.libvirt_uri)
    took = time.monotonic() - begun
    after = answer(address, "/verify")
    print(f"boot {booted:.1f} s, idle migration {took:.2f} s")
    assert after["start_id"] == before["start_id"]
    assert after["nonce"] != before["nonce"]
    assert after["count"] > before["count"]
    assert after["mem"] == "ok"
    deadline = time.monotonic() + 15
    while answer(address)["disk"] != "ok":
        assert time.monotonic() < deadline
    assert "mover" not in first.virsh("list", "--all", "--name")
    # What a restarted libvirtd finds in the cgroups must still be its own guest.
    lab.kill_libvirtd("h2")
    lab.start_libvirtd("h2")
    # It answers before it has taken its guests up again.
    deadline = time.monotonic() + 10
    quota = ["virsh", "-c", "qemu:///system", "schedinfo", "mover", "--live", "--set", "vcpu_quota=50000"]
    while (done := second.run(quota, check=False)).returncode != 0:
        assert time.monotonic() < deadline, done.stderr
        time.sleep(0.2)
    second.virsh("shutdown", "mover")
    deadline = time.monotonic() + 15
    while second.virsh("list", "--name").strip():
        assert time.monotonic() < deadline
    second.virsh("undefine", "mover")


def test_a_busy_guest_keeps_its_memory_on_the_move(lab: Lab) -> None:
    first, second = lab.host("h1"), lab.host("h3")
    address = create_guest(lab, first, "busy", 6, extra_cmdline="hpg.dirty=8")
    start = answer(address)["start_id"]
    time.sleep(5)
    for source, target in ((first, second), (second, first)):
        source.virsh("migrate", "--live", "--p2p", "--unsafe", "busy", target.libvirt_uri)
        assert answer(address)["start_id"] == start
    time.sleep(6)
    assert answer(address, "/verify")["mem"] == "ok"
    first.virsh("destroy", "busy")


def test_programs_are_recorded_logged_and_ended(lab: Lab, tmp_path: Path) -> None:
    cluster = Cluster(lab, run_dir=tmp_path)
    cluster.start("coordinator", ["sh", "-c", "echo hello; exec sleep 1000"])
    cluster.start("agent-h1", lab.host("h1").enter(["sleep", "1001"]))
    while not inside(lab.host("h1"), "1001") or "hello" not in cluster.log("coordinator"):
        time.sleep(0.02)
    assert set(lab.programs()) == {"agent-h1", "coordinator"}
    with pytest.raises(LabError, match="already runs"):
        cluster.start("coordinator", ["true"])
    cluster.kill("agent-h1", signal.SIGSTOP)
    state = lab.host("h1").run(["ps", "-C", "sleep", "-o", "stat="]).stdout
    assert state.startswith("T")
    cluster.kill("agent-h1")
    assert not inside(lab.host("h1"), "1001")
    assert cluster.running() == ["coordinator"]
    later = Cluster(lab, run_dir=tmp_path)
    later.stop()
    assert cluster.processes["coordinator"].wait(timeout=5) != 0
    assert lab.programs() == {}


def test_two_labs_side_by_side_leave_nothing() -> None:
    starts = [
        subprocess.Popen(lab_command("up", "--name", name, "--hosts", "2", "--storage", "local"), cwd=PROJECT)
        for name in ("side-a", "side-b")
    ]
    try:
        assert [process.wait(timeout=60) for process in starts] == [0, 0]
        one, two = Lab.load("side-a"), Lab.load("side-b")
        assert one.subnet != two.subnet
        one.host("h1").run(["touch", "/var/lib/hpgreedy/pool/mine"])
        assert not (two.host("h1").pool_folder / "mine").exists()
        assert not (one.host("h2").pool_folder / "mine").exists()
        Cluster(one).start("coordinator", ["sleep", "1002"])
        create_guest(one, one.host("h1"), "left", 7)
    finally:
        for process in starts:
            process.wait(timeout=60)
        for name in ("side-a", "side-b"):
            take_down(name)
    for gone in (one, two):
        assert leftovers(gone.name) == []
        assert interfaces_of(gone) == set()


def known_lab(name: str) -> Lab | None:
    try:
        return Lab.load(name)
    except LabError:
        return None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_up_cut_short_at_any_point_leaves_nothing(number: signal.Signals) -> None:
    try:
        for step in range(14):
            process = subprocess.Popen(
                lab_command("up", "--name", "short", "--hosts", "2"),
                cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            time.sleep(0.05 * (step + 1))
            made = known_lab("short")
            process.send_signal(number)
            said, errors = process.communicate(timeout=30)
            if number == signal.SIGKILL or "is up" in said:
                assert run_lab("down", "--name", "short").returncode == 0
            assert "could not be taken away" not in errors
            assert leftovers("short") == [], f"cut after {0.05 * (step + 1):.2f} s"
            assert made is None or interfaces_of(made) == set()
    finally:
        take_down("short")


def test_up_on_a_half_dead_lab_cleans_first() -> None:
    lab = Lab.up("half", hosts=2)
    try:
        init = lab.state.init_of("h1")
        assert init is not None
        os.kill(init.pid, signal.SIGKILL)
        while init.alive():
            time.sleep(0.02)
        again = Lab.up("half", hosts=2)
        assert again.host("h1").virsh("list") is not None
    finally:
        take_down("half")
    assert leftovers("half") == []
