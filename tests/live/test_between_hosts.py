"""What passes between hosts: a moving VM's memory is encrypted, and only the source of a move is let in."""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from lab.api import Lab
from tests.live.conftest import PROJECT, Live
from tests.live.test_main_job import small

TLS, STREAM = 16514, 49152
ETH_P_ALL = 3


class Wire:
    """What passes a host's cable while it is watched: the payload of the migrations' own connections."""

    def __init__(self, lab: Lab, host: str, pattern: bytes) -> None:
        self.seen = 0
        self.octets = 0
        self._pattern = pattern
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, 33, 64 * 1024 * 1024)  # SO_RCVBUFFORCE
        self._socket.bind((lab.state.place.veth(host), 0))
        self._socket.settimeout(0.2)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Wire:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()

    def _watch(self) -> None:
        while not self._over.is_set():
            try:
                frame = self._socket.recv(256 * 1024)
            except TimeoutError:
                continue
            if len(frame) < 54 or frame[12:14] != b"\x08\x00" or frame[23] != socket.IPPROTO_TCP:
                continue
            tcp = 14 + (frame[14] & 15) * 4
            ports = {int.from_bytes(frame[tcp + at : tcp + at + 2], "big") for at in (0, 2)}
            if any(STREAM <= port <= STREAM + 63 for port in ports):
                self.octets += len(frame)
                self.seen += frame.count(self._pattern)


@pytest.fixture
def settled(live: Live) -> Iterator[Live]:
    lines = live.cluster.lines
    yield live
    if live.cluster.lines is not lines:
        live.restart_agents(lines)


def guards(live: Live, host: str) -> dict[str, str]:
    return live.ask("host", "show", host)["guards"]


def moved_past(live: Live, vm: str, to: str) -> Wire:
    """Move the VM and count on the wire what is in its memory and nowhere else: a number it drew at boot."""
    with Wire(live.lab, "h1", str(live.count(vm)["start_id"]).encode()) as wire:
        op = live.ask("vm", "migrate", vm, "--to", to)["operations"][0]
        assert op["ok"], op
    return wire


def test_the_memory_of_a_moving_vm_is_encrypted_on_the_wire(settled: Live) -> None:
    live = settled
    live.submit([small("secret", host="h1")])
    live.wait_booted("secret")
    for host in ("h1", "h2"):
        assert guards(live, host) == {"encryption": "on", "fence": "on", "locks": "on"}
    wire = moved_past(live, "secret", "h2")
    assert wire.octets > 16 * 1024 * 1024, "the random block in its memory alone"
    assert wire.seen == 0

    clear = (*live.cluster.lines.agent_extra, "--migration-transport", "tcp")
    live.restart_agents(replace(live.cluster.lines, agent_extra=clear))
    assert guards(live, "h1")["encryption"].startswith("off: everything between hosts")
    wire = moved_past(live, "secret", "h1")
    assert wire.seen > 0, "the same in the clear: the wire was really watched"


def test_a_host_has_a_certificate_of_the_coordinator_under_its_own_names(live: Live) -> None:
    host = live.lab.host("h2")
    folder = host.data_folder / "etc/pki"
    shown = host.run(["openssl", "x509", "-in", "/etc/pki/libvirt/servercert.pem", "-noout", "-text"]).stdout
    assert "DNS:h2" in shown
    assert f"IP Address:{host.address}" in shown
    assert "TLS Web Server Authentication, TLS Web Client Authentication" in shown
    ours = json.dumps((folder / "CA/cacert.pem").read_text())
    assert all(
        json.dumps((other.data_folder / "etc/pki/CA/cacert.pem").read_text()) == ours
        for other in live.lab.hosts
    )
    kept = live.cluster.lines.run_dir / "coordinator/coordinator/ca.pem"
    assert kept.stat().st_mode & 0o777 == 0o600
    for name in ("libvirt/private/serverkey.pem", "qemu/server-key.pem"):
        assert (folder / name).stat().st_mode & 0o007 == 0
    log = live.cluster.log("coordinator")
    assert re.search(r"certificate issued.*", log)


def reaches(lab: Lab, source: str, target: str, port: int) -> bool:
    code = f"import socket; socket.create_connection(({lab.host(target).address!r}, {port}), 3)"
    return lab.host(source).run([sys.executable, "-c", code], check=False).returncode == 0


def test_only_the_source_of_a_migration_reaches_the_target_and_only_while_it_lasts(live: Live) -> None:
    lab = live.lab
    live.submit([small("guarded", host="h1")])
    live.wait_booted("guarded")
    before = live.count("guarded")
    assert reaches(lab, "h2", "h2", TLS), "loopback stays open"
    for source in ("h1", "h3"):
        assert not reaches(lab, source, "h2", TLS)
    lab.limit("h1", 60)
    try:
        op = live.ask("vm", "migrate", "guarded", "--to", "h2", "--no-wait")["operations"][0]
        live.wait_for(
            "memory flows",
            lambda: "guarded" in lab.host("h2").virsh("list", "--all", "--name"),
        )
        assert not reaches(lab, "h3", "h2", TLS)
        assert not reaches(lab, "h3", "h2", STREAM)
        assert not reaches(lab, "h2", "h1", TLS), "the source is open to nobody"
        assert reaches(lab, "h1", "h2", TLS)
        assert not live.ask("op", "show", str(op["id"]))["done"], "all this was in time"
    finally:
        lab.limit("h1", None)
    live.wait_for("it ends", lambda: live.ask("op", "show", str(op["id"]))["done"])
    assert live.ask("op", "show", str(op["id"]))["ok"]
    assert live.count("guarded")["start_id"] == before["start_id"]
    for source in ("h1", "h3"):
        assert not reaches(lab, source, "h2", TLS)


def test_the_kernel_closes_at_the_deadline_whatever_became_of_the_agent(live: Live) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path;"
        "from agent.fence import NftFence;"
        "fence = NftFence(Path('/run/fence-test.json')); fence.open('v', [sys.argv[2]], float(sys.argv[3]));"
    )
    lab = live.lab
    address = lab.host("h1").address
    lab.host("h3").run([sys.executable, "-c", code, str(PROJECT), address, "4"])
    assert reaches(lab, "h1", "h3", TLS)
    assert not reaches(lab, "h2", "h3", TLS)
    deadline = time.monotonic() + 30
    while reaches(lab, "h1", "h3", TLS):
        assert time.monotonic() < deadline
