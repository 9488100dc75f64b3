"""A process is its number AND its start time: numbers are used again, and a wrong kill is unforgivable."""

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """One process of this boot of this machine."""

    pid: int
    start: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> "Process | None":
        """Return the process that has this number now, None when there is none."""
        start = _start_time(pid)
        return None if start is None else cls(pid, start, boot_id())

    def alive(self) -> bool:
        """Tell whether it still runs; a zombie does not."""
        return self.boot == boot_id() and _start_time(self.pid) == self.start

    def signal(self, number: int) -> None:
        """Send a signal to this process and to no other."""
        with contextlib.suppress(ProcessLookupError):
            # The descriptor pins the process, so that the check and the kill speak of the same one.
            descriptor = os.pidfd_open(self.pid)
            try:
                if self.alive():
                    signal.pidfd_send_signal(descriptor, number)
            finally:
                os.close(descriptor)


def boot_id() -> str:
    """Return the identity of this boot: start times mean nothing in another."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _start_time(pid: int) -> int | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def wait_gone(processes: Iterable[Process], seconds: float) -> list[Process]:
    """Wait until all are gone; return those that are still there at the end."""
    deadline = time.monotonic() + seconds
    left = [process for process in processes if process.alive()]
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        left = [process for process in left if process.alive()]
    return left


def end(processes: Iterable[Process], grace: float) -> list[Process]:
    """Ask all to end, kill those that have not after `grace` seconds; return what survived even that."""
    everyone = list(processes)
    if grace > 0:
        for process in everyone:
            process.signal(signal.SIGTERM)
        everyone = wait_gone(everyone, grace)
    for process in everyone:
        process.signal(signal.SIGKILL)
    return wait_gone(everyone, 10)
