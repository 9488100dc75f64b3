"""The real stage: three libvirt hosts in the lab, real QEMU guests, a client in the root namespace."""

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from lab import guest
from lab.api import Lab
from lab.names import guest_ip
from lab.programs import Cluster, CommandLines
from lab.programset import PROJECT
from lab.quickstart.stage import IMAGE, StageError, own_name


class RealStage:
    """A lab of three hosts with the coordinator in front of them."""

    title = "three real libvirt hosts on this machine"
    down_command = "./quickstart down"

    def __init__(self) -> None:
        self.host_names = ["h1", "h2", "h3"]
        self._lab: Lab | None = None
        self._cluster: Cluster | None = None
        self._guest: guest.Guest | None = None

    def clear(self) -> bool:
        """Take an earlier lab of the quickstart away, whatever state it is in."""
        return Lab.remove(own_name())

    def raise_hosts(self) -> str:
        """Build the test guest if needed and bring three hosts up."""
        self._guest = guest.build()
        self._lab = Lab.up(own_name(), len(self.host_names))
        lines = CommandLines(
            self._lab,
            sys.executable,
            self._lab.paths.data / "cluster",
            coordinator_extra=("--default-image", IMAGE),
            agent_extra=("--cpu-overcommit", "4"),
        )
        self._cluster = Cluster(self._lab, lines=lines)
        addresses = ", ".join(f"{host.name} {host.address}" for host in self._lab.hosts)
        return f"Three hosts, each with its own libvirtd, are up: {addresses}"

    def start_coordinator(self) -> str:
        """Start it in the root namespace."""
        self._here.start_coordinator()
        self._here.wait_for_coordinator()
        return f"{self._here.lab.gateway}:{self._here.lines.port}"

    def start_agent(self, host: str) -> None:
        """Start the agent inside its host."""
        self._here.start_agent(host)

    def image_arguments(self) -> list[str]:
        """The test guest: a kernel, its initramfs and a small disk."""
        assert self._guest is not None
        made = self._guest
        cmdline = f"{made.cmdline} hpg.net={self._here.lab.net}"
        return [
            *("--kernel", str(made.kernel), "--initrd", str(made.initrd)),
            *("--disk", str(made.disk), "--format", "qcow2", "--cmdline", cmdline),
        ]

    def client(self, arguments: Sequence[str], timeout: float = 60) -> "subprocess.CompletedProcess[str]":
        """Run the client to its end."""
        return self._here.client(arguments, timeout=timeout)

    def open_client(self, arguments: Sequence[str]) -> "subprocess.Popen[str]":
        """Start the client."""
        return self._here.open(self._here.lines.client(arguments))

    def count(self, vm: dict[str, Any]) -> dict[str, Any] | None:
        """Ask the guest over HTTP, from outside all hosts."""
        return fetch_count(guest_ip(vm["macs"][0], self._here.lab.net))

    def program_problem(self) -> str:
        """Say which program has ended."""
        return self._here.problem()

    def next_commands(self) -> list[str]:
        """What to type next."""
        lab, python = self._here.lab, os.path.relpath(sys.executable, PROJECT)
        client = f"{python} run_client.py {lab.gateway}"
        return [
            f"export HPGREEDY_STATE={self._here.run_dir / 'coordinator'}",
            f"{client} status",
            f"{client} vm migrate web-2",
            f"{client} vm console-log db-1",
            f"{python} -m lab exec --name {lab.name} {lab.hosts[0].name} virsh list --all",
            self.down_command,
        ]

    def down(self) -> None:
        """Take the lab away with everything in it."""
        Lab.remove(own_name())

    @property
    def _here(self) -> Cluster:
        if self._cluster is None:
            raise StageError("the hosts are not up yet")
        return self._cluster


def fetch_count(address: str, timeout: float = 0.5) -> dict[str, Any] | None:
    """What a test guest says of itself at /count; None when it does not answer in time."""
    connection = http.client.HTTPConnection(address, 80, timeout=timeout)
    try:
        connection.request("GET", "/count")
        found = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, json.JSONDecodeError):
        return None
    finally:
        connection.close()
    return found if isinstance(found, dict) else None
