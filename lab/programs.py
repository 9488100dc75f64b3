"""Start the coordinator, the agents and the client in a lab, as an operator would: as programs."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.api import POOL_PATH, Lab, LabHost
from lab.errors import LabError
from lab.programset import PROJECT, ProgramSet

PORT = 5000


@dataclass(frozen=True)
class CommandLines:
    """The argument lists of our programs: the one place to change when a program's options change.

    `agent_extra` are options of all agents, `host_extra` those of one host's, by the host's name.
    """

    lab: Lab
    python: str
    run_dir: Path
    port: int = PORT
    coordinator_config: Path | None = None
    agent_config: Path | None = None
    coordinator_extra: tuple[str, ...] = ()
    agent_extra: tuple[str, ...] = ()
    host_extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def coordinator(self) -> list[str]:
        """Return the coordinator's argument list."""
        return [
            *(self.python, "run_coordinator.py", "--listen", self.lab.gateway, "--port", str(self.port)),
            *("--state", str(self.run_dir / "coordinator"), "--log-format", "json"),
            *_config(self.coordinator_config),
            *self.coordinator_extra,
        ]

    def agent(self, host: LabHost, token: str, memory_gib: float) -> list[str]:
        """Return the argument list of a host's agent, as it is run inside that host."""
        return [
            *(self.python, "run_server.py", self.lab.gateway, str(self.port), f"{memory_gib:g}"),
            *("--join", token, "--name", host.name, "--state", "/var/lib/hpgreedy/agent"),
            *("--hypervisor", "qemu:///system", "--address", host.address),
            *("--bridge", "br0", "--pool-path", POOL_PATH),
            *_config(self.agent_config),
            *self.agent_extra,
            *self.host_extra.get(host.name, ()),
        ]

    def client(self, arguments: Sequence[str]) -> list[str]:
        """Return the argument list of one call of the client."""
        return [
            *(self.python, "run_client.py", self.lab.gateway, "--port", str(self.port)),
            *("--state", str(self.run_dir / "coordinator")),
            *arguments,
        ]

    def token(self) -> list[str]:
        """Return the client's arguments that print a token for an agent."""
        return ["token", "create", "--role", "agent"]


def _config(path: Path | None) -> list[str]:
    return [] if path is None else ["--config", str(path)]


class Cluster(ProgramSet):
    """Our programs in one lab: a coordinator in the root namespace and an agent in each host."""

    def __init__(
        self,
        lab: Lab,
        python: str = sys.executable,
        project_dir: Path | None = None,
        run_dir: Path | None = None,
        *,
        memory_gib: float = 4,
        lines: CommandLines | None = None,
    ) -> None:
        self.lab = lab
        self.lines = lines or CommandLines(lab, python, run_dir or lab.paths.data / "cluster")
        super().__init__(lab.paths.programs, self.lines.run_dir, project_dir or PROJECT)
        self.memory_gib = memory_gib

    def start_coordinator(self) -> "subprocess.Popen[bytes]":
        """Start the coordinator; its log is run_dir/coordinator.log."""
        return self.start("coordinator", self.lines.coordinator())

    def wait_for_coordinator(self, seconds: float = 30) -> None:
        """Return once the coordinator answers a client. Raises LabError with the end of its log."""
        deadline = time.monotonic() + seconds
        while True:
            if self.client(["status", "--json"]).returncode == 0:
                return
            if "coordinator" in self.ended() or time.monotonic() > deadline:
                log = self.log("coordinator").strip().splitlines()[-3:]
                raise LabError(f"the coordinator does not answer; its log ends with: {' | '.join(log)}")
            time.sleep(0.1)

    def start_agent(self, host: str, token: str | None = None) -> "subprocess.Popen[bytes]":
        """Start a host's agent, logging to run_dir/agent-HOST.log; without a token the client makes one."""
        whom = self.lab.host(host)
        command = self.lines.agent(whom, token or self.new_token(), self.memory_gib)
        return self.start(f"agent-{host}", whom.enter(command))

    def start_agents(self) -> None:
        """Start the agents of all hosts."""
        for host in self.lab.hosts:
            self.start_agent(host.name)

    def new_token(self) -> str:
        """Return a fresh join token for an agent."""
        done = self.client(self.lines.token())
        if done.returncode != 0 or not done.stdout.strip():
            raise LabError(
                f"the client made no join token (exit code {done.returncode}): {done.stderr.strip()}; "
                f"nothing was started; is the coordinator up? its log is {self.run_dir / 'coordinator.log'}"
            )
        return done.stdout.split()[-1]

    def client(
        self, arguments: Sequence[str], text: str | None = None, timeout: float = 60
    ) -> "subprocess.CompletedProcess[str]":
        """Run the client in the root namespace and collect its output."""
        return self.run(self.lines.client(arguments), text, timeout)

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to the program itself (an agent's launcher passes it on where it can)."""
        process = self.processes.get(name)
        # The launcher of a program inside a host cannot pass SIGSTOP on, so the program gets it directly.
        inner = _launched(process.pid) if process is not None and name.startswith("agent-") else None
        if inner is None or process is None or process.poll() is not None:
            self.send(name, number)
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(inner, number)
        if number == signal.SIGKILL:
            process.wait(timeout=10)


def _launched(pid: int) -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    return None
