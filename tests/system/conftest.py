"""Real programs on loopback with simulated hosts: no root, no libvirt."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from protocol.messages import Reply, Request
from protocol.transport.access import LocalAccess, local_access_path
from protocol.transport.dealer import Dealer, request

PROJECT = Path(__file__).resolve().parents[2]


class System:
    """A coordinator and its agents, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=PROJECT
            )
        self.processes[name] = process
        return process

    def start_coordinator(self, *options: str) -> None:
        access = self.folder / "coordinator" / "local-admin.json"
        access.unlink(missing_ok=True)
        port = str(self.port or free_port())
        self.start(
            "coordinator", "run_coordinator.py", "--listen", "127.0.0.1", "--port", port,
            "--state", str(self.folder), *options,
        )  # fmt: skip
        self.port = int(port)
        self.wait_for("the coordinator", lambda: self.client("status").returncode == 0)

    def agent_command(self, name: str, *options: str, memory: str = "0") -> list[str]:
        world = f"simulated://{self.folder}/world?cpus=4&memory=8"
        return [
            "run_server.py", "127.0.0.1", str(self.port), memory, "--name", name,
            "--state-root", str(self.folder), "--state", str(self.folder / name),
            "--hypervisor", world, "--reserve-memory", "0", *options,
        ]  # fmt: skip

    def start_agent(self, name: str, *options: str) -> None:
        self.start(name, *self.agent_command(name, *options))

    def run(
        self, *command: str, text: str | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *command], input=text or "", capture_output=True, text=True, cwd=PROJECT,
            timeout=timeout, check=False,
        )  # fmt: skip

    def client(self, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        return self.run(
            "run_client.py", f"127.0.0.1:{self.port}", "--state", str(self.folder), *arguments, text=text
        )

    def ask(self, *arguments: str, text: str | None = None) -> Any:
        done = self.client(*arguments, "--json", text=text)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}\n{self.logs()}"
        return json.loads(done.stdout)

    def asked_directly(self, *verbs: str) -> list[Any]:
        """Answers without a client process for each: quick."""
        return asyncio.run(self._asked(verbs))

    async def _asked(self, verbs: tuple[str, ...]) -> list[Any]:
        access = LocalAccess.load(local_access_path(self.folder))
        dealer = Dealer("127.0.0.1", self.port, access.server_public, access.keys)
        await dealer.connect()
        try:
            answers = [(await request(dealer, Request(verb=verb), 10)).body for verb in verbs]
        finally:
            await dealer.close()
        assert all(isinstance(answer, Reply) and answer.ok for answer in answers), answers
        return [answer.result for answer in answers if isinstance(answer, Reply)]

    def wait_for(self, what: str, found: Any, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not found():
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}\n{self.logs()}"
            time.sleep(0.1)

    def hosts_up(self, count: int) -> bool:
        return sum(host["state"] == "up" for host in self.ask("host", "list")) == count

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait()

    def logs(self) -> str:
        return "\n".join(f"--- {path.name}\n{path.read_text()[-2500:]}" for path in self.folder.glob("*.log"))

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A coordinator and three agents on one address."""
    made = System(tmp_path_factory.mktemp("system"))
    try:
        made.start_coordinator()
        for name in ("s1", "s2", "s3"):
            made.start_agent(name)
        made.wait_for("three hosts", lambda: made.hosts_up(3))
        yield made
    finally:
        made.stop()
