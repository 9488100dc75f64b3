"""A lab of three real hosts for the live tests, and a cluster in it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lab import guest
from lab.api import Lab
from lab.names import guest_ip
from lab.programs import Cluster, CommandLines
from lab.quickstart.real import fetch_count

PROJECT = Path(__file__).resolve().parents[2]
IMAGE = "hpg-guest"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without root a live test is skipped on a desk and a failure in continuous integration."""
    here = [item for item in items if Path(str(item.fspath)).is_relative_to(Path(__file__).parent)]
    for item in here:
        item.add_marker(pytest.mark.live)
        required = os.environ.get("CI") or os.environ.get("HPG_LIVE_REQUIRED")
        if os.geteuid() != 0 and not required:
            item.add_marker(pytest.mark.skip(reason="live tests need root: sudo ./test"))


@dataclass
class Live:
    """A cluster on real hosts, driven as a user drives it."""

    cluster: Cluster
    made: list[str] = field(default_factory=list)

    @property
    def lab(self) -> Lab:
        return self.cluster.lab

    def raw(
        self, *arguments: str, text: str | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        return self.cluster.client(list(arguments), text, timeout)

    def ask(self, *arguments: str, text: str | None = None, timeout: float = 120) -> Any:
        done = self.raw(*arguments, "--json", text=text, timeout=timeout)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}\n{self.logs()}"
        return json.loads(done.stdout)

    def submit(self, vms: list[dict[str, Any]], algorithm: str = "first_fit") -> None:
        """Submit and wait until all run."""
        self.ask("submit", "-", "--algorithm", algorithm, "--wait", text=json.dumps({"vms": vms}))

    def vms(self) -> dict[str, dict[str, Any]]:
        return {str(vm["id"]): vm for vm in self.ask("vm", "list")}

    def address(self, vm: str) -> str:
        return guest_ip(self.vms()[vm]["macs"][0], self.lab.net)

    def wait_booted(self, *names: str, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        waiting = list(names)
        while waiting:
            waiting = [
                n for n in waiting if "hpg-guest: booted" not in self.ask("vm", "console-log", n)["text"]
            ]
            assert time.monotonic() < deadline, f"not booted: {waiting}\n{self.logs()}"
            if waiting:
                time.sleep(0.5)

    def wait_for(self, what: str, found: Any, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not found():
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}\n{self.logs()}"
            time.sleep(0.2)

    def virsh_list(self, *flags: str) -> dict[str, set[str]]:
        """Names of domains by host, as virsh lists them on each host."""
        return {host.name: set(host.virsh("list", "--name", *flags).split()) for host in self.lab.hosts}

    def delete_all(self) -> None:
        for name in self.vms():
            self.ask("vm", "delete", name, "--force")

    def count(self, vm: str, seconds: float = 30) -> dict[str, Any]:
        address = self.address(vm)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = fetch_count(address)
            if found is not None:
                return found
            time.sleep(0.1)
        raise AssertionError(f"{vm} at {address} does not answer\n{self.logs()}")

    def hosts_up(self) -> bool:
        return [h["state"] for h in self.ask("host", "list")] == ["up"] * len(self.lab.hosts)

    def restart_agents(self, lines: CommandLines) -> None:
        """Kill all agents and start them with other arguments."""
        for host in self.lab.hosts:
            self.cluster.kill(f"agent-{host.name}")
        self.cluster.lines = lines
        self.wait_for("all hosts silent", lambda: all(h["state"] != "up" for h in self.ask("host", "list")))
        self.cluster.start_agents()
        self.wait_for("all hosts up", self.hosts_up)

    def logs(self) -> str:
        names = ["coordinator", *(f"agent-{host.name}" for host in self.lab.hosts)]
        return "\n".join(f"--- {name}\n{self.cluster.log(name)[-3000:]}" for name in names)


def bring_up(lab: Lab, folder: str, **lines: Any) -> Live:
    """Coordinator, image and agents in a lab; returns once all hosts are up."""
    made = guest.build()
    extra = ("--default-image", IMAGE, *lines.pop("coordinator_extra", ()))
    agent_extra = ("--cpu-overcommit", "16", *lines.pop("agent_extra", ()))
    command_lines = CommandLines(
        lab, os.sys.executable, lab.paths.data / folder, coordinator_extra=extra, agent_extra=agent_extra
    )
    live = Live(Cluster(lab, lines=command_lines, **lines))
    live.cluster.start_coordinator()
    live.cluster.wait_for_coordinator()
    live.ask(
        "image", "add", IMAGE, "--kernel", str(made.kernel), "--initrd", str(made.initrd),
        "--disk", str(made.disk), "--format", "qcow2", "--cmdline", f"{made.cmdline} hpg.net={lab.net}",
    )  # fmt: skip
    live.cluster.start_agents()
    live.wait_for("all hosts up", live.hosts_up)
    return live


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Three hosts with shared storage."""
    made = Lab.up(f"t{os.getpid() % 100000}", 3)
    yield made
    made.down()


@pytest.fixture(scope="session")
def session_cluster(lab: Lab) -> Iterator[Live]:
    """One cluster for all tests of the session."""
    live = bring_up(lab, "cluster", memory_gib=2)
    yield live
    live.cluster.stop()


@pytest.fixture
def live(session_cluster: Live) -> Iterator[Live]:
    """The session's cluster, empty before and after the test."""
    yield session_cluster
    session_cluster.delete_all()
