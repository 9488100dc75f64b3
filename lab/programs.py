"""Start the coordinator, the agents and the client in a lab, as an operator would: as programs."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import programs_record, record_and_run
from lab.api import POOL_PATH, Lab, LabHost
from lab.errors import LabError
from lab.processes import end

PORT = 5000


@dataclass(frozen=True)
class CommandLines:
    """The argument lists of our programs: the one place to change when a program's options change."""

    lab: Lab
    python: str
    run_dir: Path
    port: int = PORT
    coordinator_config: Path | None = None
    agent_config: Path | None = None
    coordinator_extra: tuple[str, ...] = ()
    agent_extra: tuple[str, ...] = ()

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
            *("--migration-transport", "tcp", "--bridge", "br0", "--pool-path", POOL_PATH),
            *_config(self.agent_config),
            *self.agent_extra,
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


class Cluster:
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
        self.project_dir = project_dir or Path(__file__).resolve().parent.parent
        self.run_dir = run_dir or lab.paths.data / "cluster"
        self.run_dir.mkdir(parents=True, exist_ok=True)
        self.memory_gib = memory_gib
        self.lines = lines or CommandLines(lab, python, self.run_dir)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start_coordinator(self) -> "subprocess.Popen[bytes]":
        """Start the coordinator; its log is run_dir/coordinator.log."""
        return self.start("coordinator", self.lines.coordinator())

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
        return subprocess.run(
            self.lines.client(arguments),
            input=text or "",
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            cwd=self.project_dir,
        )

    def start(self, name: str, command: Sequence[str]) -> "subprocess.Popen[bytes]":
        """Start any program under a name: recorded, logged, ended by `stop`, `kill` or `lab down`."""
        if name in self.processes and self.processes[name].poll() is None:
            raise LabError(f"{name} already runs as process {self.processes[name].pid}; it was left alone")
        recorded = record_and_run.command_line(self.lab.paths.programs, name, command)
        with (self.run_dir / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                recorded,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.project_dir,
                start_new_session=True,
            )
        self.processes[name] = process
        return process

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to the program itself (an agent's launcher passes it on where it can)."""
        process = self.processes.get(name)
        if process is None or process.poll() is not None:
            raise LabError(f"{name} is not running here; running: {', '.join(self.running()) or 'nothing'}")
        # The launcher of a program inside a host cannot pass SIGSTOP on, so the program gets it directly.
        inner = _launched(process.pid) if name.startswith("agent-") else None
        with contextlib.suppress(ProcessLookupError):
            if inner is not None:
                os.kill(inner, number)
            else:
                process.send_signal(number)
        if number == signal.SIGKILL:
            process.wait(timeout=10)

    def running(self) -> list[str]:
        """Return the names of the programs that run."""
        return [name for name, process in self.processes.items() if process.poll() is None]

    def log(self, name: str) -> str:
        """Return what a program has logged so far."""
        path = self.run_dir / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self, grace: float = 5) -> None:
        """End all programs, agents first, those of an earlier Cluster object as well."""
        records = programs_record.read(self.lab.paths.programs)
        for name in sorted(records):
            left = end(records[name], grace)
            if left:
                raise LabError(f"{name} (process {left[0].pid}) survived SIGKILL; the others were not ended")
            programs_record.forget(self.lab.paths.programs, name)
        for process in self.processes.values():
            process.wait(timeout=10)
        self.processes.clear()


def _launched(pid: int) -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    return None
