"""A set of our programs: started as an operator would, recorded, logged, and ended by identity."""

import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lab import programs_record, record_and_run
from lab.errors import LabError
from lab.processes import end

PROJECT = Path(__file__).resolve().parent.parent
WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")
"""In front of a command: it ends when the process that started it ends, however that happens."""


class ProgramSet:
    """Programs with one record each in `records` and one log each in `run_dir`."""

    def __init__(self, records: Path, run_dir: Path, project_dir: Path = PROJECT) -> None:
        self.records = records
        self.run_dir = run_dir
        self.project_dir = project_dir
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        run_dir.mkdir(parents=True, exist_ok=True)
        records.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, command: Sequence[str]) -> "subprocess.Popen[bytes]":
        """Start a program under a name: recorded, logged to run_dir/NAME.log, ended by `stop` or `kill`."""
        if name in self.processes and self.processes[name].poll() is None:
            raise LabError(f"{name} already runs as process {self.processes[name].pid}; it was left alone")
        recorded = record_and_run.command_line(self.records, name, command)
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

    def run(
        self, command: Sequence[str], text: str | None = None, timeout: float = 60
    ) -> "subprocess.CompletedProcess[str]":
        """Run a program to its end and collect its output."""
        return subprocess.run(
            [*WITH_PARENT, *command],
            input=text or "",
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            cwd=self.project_dir,
        )

    def open(self, command: Sequence[str]) -> "subprocess.Popen[str]":
        """Start a program whose output, errors included, the caller reads as it comes."""
        return subprocess.Popen(
            [*WITH_PARENT, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.project_dir,
        )

    def send(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to a program; after SIGKILL it is gone when this returns."""
        process = self.processes.get(name)
        if process is None or process.poll() is not None:
            raise LabError(f"{name} is not running here; running: {', '.join(self.running()) or 'nothing'}")
        process.send_signal(number)
        if number == signal.SIGKILL:
            process.wait(timeout=10)

    def running(self) -> list[str]:
        """Return the names of the programs that run."""
        return [name for name, process in self.processes.items() if process.poll() is None]

    def ended(self) -> list[str]:
        """Return the names of programs that were started here and have ended."""
        return [name for name, process in self.processes.items() if process.poll() is not None]

    def problem(self) -> str:
        """Return a sentence about a program that has ended by itself, else nothing."""
        for name in self.ended():
            last = " | ".join(self.log(name).strip().splitlines()[-3:])
            return f"{name} has ended; its log {self.run_dir / (name + '.log')} ends with: {last}"
        return ""

    def log(self, name: str) -> str:
        """Return what a program has logged so far."""
        path = self.run_dir / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self, grace: float = 5) -> None:
        """End all recorded programs, agents first, those of an earlier object as well."""
        records = programs_record.read(self.records)
        for name in sorted(records):
            left = end(records[name], grace)
            if left:
                raise LabError(f"{name} (process {left[0].pid}) survived SIGKILL; the others were not ended")
            programs_record.forget(self.records, name)
        for process in self.processes.values():
            process.wait(timeout=10)
        self.processes.clear()
