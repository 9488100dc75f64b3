"""The original project's three commands as its users typed them; the head node is a node too."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

import pytest

from lab.api import Lab
from lab.programset import ProgramSet
from tests.live.conftest import PROJECT


@pytest.fixture
def pair() -> Iterator[Lab]:
    lab = Lab.up(f"s{os.getpid() % 100000}", 2)
    yield lab
    lab.down()


def test_three_commands(pair: Lab) -> None:
    head, other = pair.host("h1"), pair.host("h2")
    programs = ProgramSet(pair.paths.programs, pair.paths.data / "logs", PROJECT)
    python = sys.executable

    def client(*arguments: str, text: str = "") -> str:
        done = head.run([python, "run_client.py", head.address, *arguments], text=text, check=False)
        assert done.returncode == 0, f"{arguments} {done.stdout}{done.stderr}\n{programs.log('coordinator')}"
        return done.stdout

    def hosts_up(count: int) -> None:
        deadline = time.monotonic() + 60
        while client("host", "list").count(" up ") != count:
            assert time.monotonic() < deadline, programs.log("agent-h1") + programs.log("agent-h2")
            time.sleep(0.5)

    programs.start("coordinator", head.enter([python, "run_coordinator.py"]))
    deadline = time.monotonic() + 30
    while head.run([python, "run_client.py", head.address, "status"], check=False).returncode != 0:
        assert time.monotonic() < deadline, programs.log("coordinator")
        time.sleep(0.3)
    programs.start("agent-h1", head.enter([python, "run_server.py", head.address, "5000", "1"]))
    hosts_up(1)
    token = client("token", "create", "--role", "agent").split()[-1]
    command = [python, "run_server.py", head.address, "5000", "1", "--join", token]
    programs.start("agent-h2", other.enter(command))
    hosts_up(2)
    client("submit", "-", "--wait", text='{"id": "diskless", "cpu": 1, "memory": "256MiB", "nics": []}')
    said = client("first_fit", text="status\nexit\n")
    assert "2 of 2" in said
    assert "1 of 1" in said
    assert "diskless" in head.virsh("list", "--name") + other.virsh("list", "--name")
    programs.stop()
    assert "diskless" in head.virsh("list", "--name") + other.virsh("list", "--name"), "VMs go on"
