"""Verbs that change a VM, and its console."""

from __future__ import annotations

import time
from collections.abc import Callable

from hpgreedy.client.console import last_lines, tail_bytes
from hpgreedy.client.session import Session, make
from hpgreedy.client.units import clean
from protocol.verbs import ById, ConsoleLogText, VmAdopt, VmConsoleLog, VmDelete, VmMigrate, VmStop

CONSOLE_BYTES = 65536
MOST_CONSOLE_BYTES = 1_000_000
CONSOLE_POLL_SECONDS = 0.5
_BYTES_A_LINE = 200


def delete(
    session: Session, vm: str, *, force: bool, grace: float, wait: bool, timeout: float | None
) -> None:
    """Delete a VM and its disks."""
    session.start("vm.delete", make(VmDelete, id=vm, force=force, grace=grace), wait, timeout)


def start(session: Session, vm: str, wait: bool, timeout: float | None) -> None:
    """Start a stopped VM."""
    session.start("vm.start", make(ById, id=vm), wait, timeout)


def stop(session: Session, vm: str, *, force: bool, grace: float, wait: bool, timeout: float | None) -> None:
    """Shut a VM down."""
    session.start("vm.stop", make(VmStop, id=vm, force=force, grace=grace), wait, timeout)


def migrate(
    session: Session, vm: str, *, to: str | None, bandwidth: int, wait: bool, timeout: float | None
) -> None:
    """Move a VM while it runs; `bandwidth` in MiB/s."""
    session.start("vm.migrate", make(VmMigrate, id=vm, to=to, bandwidth=bandwidth), wait, timeout)


def adopt(session: Session, host: str, name: str, wait: bool, timeout: float | None) -> None:
    """Take a foreign domain into the cluster's care."""
    session.start("vm.adopt", make(VmAdopt, host=host, name=name), wait, timeout)


def console_log(
    session: Session, vm: str, lines: int, follow: bool, sleep: Callable[[float], None] = time.sleep
) -> None:
    """The last lines of the serial console, and with `follow` what is added, until interrupted."""
    wanted = min(MOST_CONSOLE_BYTES, max(CONSOLE_BYTES, lines * _BYTES_A_LINE))
    found = session.ask("vm.console_log", make(VmConsoleLog, id=vm, size=wanted), ConsoleLogText)
    text = last_lines(clean(found.text), lines)
    end = "" if text.endswith("\n") or not text or follow else "\n"
    session.screen.text(found, text, end)
    while follow:
        sleep(CONSOLE_POLL_SECONDS)
        seen = found
        found = session.ask("vm.console_log", make(VmConsoleLog, id=vm), ConsoleLogText)
        if found.host != seen.host or found.total < seen.total:
            # Another host or a new start has a console of its own.
            session.screen.text(found, clean(found.text), "")
        elif found.total > seen.total:
            session.screen.text(found, clean(tail_bytes(found.text, found.total - seen.total)), "")
