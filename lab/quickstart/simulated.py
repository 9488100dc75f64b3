"""The simulated stage: the same programs on loopback, hosts that are folders; no root, no libvirt."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.programset import PROJECT, ProgramSet
from lab.quickstart.stage import IMAGE, StageError, own_name

_COUNT = re.compile(r"hpg-guest: count=(\d+)")
_START = re.compile(r"hpg-guest: booted start_id=(\S+)")


def _folder() -> Path:
    """Where the simulated stage keeps everything; one for each user and checkout."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / f"hpgreedy-quickstart-{own_name()}"


class SimulatedStage:
    """Coordinator and three agents of simulated hosts, all on 127.0.0.1."""

    title = "three simulated hosts (no root, no libvirt)"
    down_command = "./quickstart --simulated down"

    def __init__(self) -> None:
        self.host_names = ["h1", "h2", "h3"]
        self._folder = _folder()
        self._port = 0

    @property
    def _programs(self) -> ProgramSet:
        if not hasattr(self, "_set"):
            self._set = ProgramSet(self._folder / "programs", self._folder / "logs")
        return self._set

    def clear(self) -> bool:
        """Remove what an earlier run left."""
        if not self._folder.exists():
            return False
        self.down()
        return True

    def raise_hosts(self) -> str:
        """Simulated hosts are folders that their agents make."""
        self._folder.mkdir(parents=True, mode=0o700)
        (self._folder / "image").write_bytes(os.urandom(65536))
        return "Three simulated hosts, each a folder"

    def start_coordinator(self) -> str:
        """Start it on a free port and wait until it has written how it is reached."""
        program = self._programs.start("coordinator", [
            *(sys.executable, "run_coordinator.py", "--listen", "127.0.0.1", "--port", "0"),
            *("--state", str(self._folder), "--default-image", IMAGE, "--log-format", "json"),
        ])  # fmt: skip
        access = self._folder / "coordinator" / "local-admin.json"
        deadline = time.monotonic() + 30
        while not access.exists():
            if program.poll() is not None or time.monotonic() > deadline:
                raise StageError(f"the coordinator did not start: {self._programs.log('coordinator')[-500:]}")
            time.sleep(0.05)
        self._port = json.loads(access.read_text())["port"]
        return f"127.0.0.1:{self._port}"

    def start_agent(self, host: str) -> None:
        """Start an agent with a simulated hypervisor."""
        self._programs.start(f"agent-{host}", [
            *(sys.executable, "run_server.py", "127.0.0.1", str(self._port), "4"),
            *("--hypervisor", f"simulated://{self._folder}/world", "--name", host),
            *("--state-root", str(self._folder), "--state", str(self._folder / host)),
            *("--cpu-overcommit", "4", "--log-format", "json"),
        ])  # fmt: skip

    def image_arguments(self) -> list[str]:
        """Any file will do for a simulated disk."""
        return ["--disk", str(self._folder / "image"), "--format", "raw"]

    def _command(self, arguments: Sequence[str]) -> list[str]:
        return [
            *(sys.executable, "run_client.py", f"127.0.0.1:{self._port}"),
            *("--state", str(self._folder), *arguments),
        ]

    def client(self, arguments: Sequence[str], timeout: float = 60) -> "subprocess.CompletedProcess[str]":
        """Run the client to its end."""
        return self._programs.run(self._command(arguments), timeout=timeout)

    def open_client(self, arguments: Sequence[str]) -> "subprocess.Popen[str]":
        """Start the client."""
        return self._programs.open(self._command(arguments))

    def count(self, vm: dict[str, Any]) -> dict[str, Any] | None:
        """Read from the console: a simulated guest has no network."""
        done = self.client(["vm", "console-log", str(vm["id"]), "--json"])
        if done.returncode != 0:
            return None
        text = json.loads(done.stdout)["text"]
        counts, starts = _COUNT.findall(text), _START.findall(text)
        return {"count": int(counts[-1]), "start_id": starts[-1]} if counts and starts else None

    def program_problem(self) -> str:
        """Say which program has ended."""
        return self._programs.problem()

    def next_commands(self) -> list[str]:
        """What to type next."""
        python = os.path.relpath(sys.executable, PROJECT)
        client = f"{python} run_client.py 127.0.0.1:{self._port}"
        return [
            f"export HPGREEDY_STATE={self._folder}",
            f"{client} status",
            f"{client} vm migrate web-2",
            f"{client} vm console-log db-1",
            self.down_command,
        ]

    def down(self) -> None:
        """End the programs and remove the folder."""
        if self._folder.exists():
            self._programs.stop()
            shutil.rmtree(self._folder)
            del self._set
