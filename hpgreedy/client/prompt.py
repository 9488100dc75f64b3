"""The prompt: an amount of memory makes a VM with one CPU."""

from __future__ import annotations

import re
import secrets
import sys
from collections.abc import Callable
from typing import TextIO

from hpgreedy.client.errors import DONE, ClientError, InputError
from hpgreedy.client.follow import Follower, check, describe
from hpgreedy.client.session import Session, make
from hpgreedy.client.units import memory
from hpgreedy.client.verbs import views
from hpgreedy.client.verbs.queue import flush
from protocol.spec import Memory, encode_spec
from protocol.verbs import AlgorithmView, Nothing, OpsStarted, StatusView, Submit

HELP = """\
A number     memory in GiB of a new VM with one CPU (or with a unit: 512MiB)
status       the cluster at a glance
vms, hosts   lists
flush        place the VMs that wait in the queue of delayed
help         this text
exit         leave (so does the end of input); VMs go on"""
WAIT_SECONDS = 120.0
_AMOUNT = re.compile(r"[0-9]+(\.[0-9]+)?")


def short_id() -> str:
    """A fresh id for a VM, such as ``vm-3fa85f``."""
    return f"vm-{secrets.token_hex(3)}"


def known_algorithms(session: Session) -> tuple[str, ...]:
    """The names of all algorithms that the coordinator knows. Raises UnreachableError."""
    return tuple(a.name for a in session.ask("algorithm.list", Nothing(), tuple[AlgorithmView, ...]))


class Prompt:
    """Reads lines from `source` until ``exit`` or its end; `mint` makes ids for VMs."""

    def __init__(
        self,
        session: Session,
        algorithm: str | None,
        source: TextIO | None = None,
        mint: Callable[[], str] = short_id,
    ) -> None:
        self._session = session
        self._algorithm = algorithm
        self._source = sys.stdin if source is None else source
        self._mint = mint
        self._interactive = self._source.isatty() and session.screen.terminal
        if self._interactive:
            import readline  # noqa: F401 - gives input() line editing

    def run(self) -> int:
        """Serve the prompt; the exit code tells of the worst line unless a person sits there."""
        self._greet()
        worst = DONE
        while True:
            line = self._read()
            if line is None or line in ("exit", "quit"):
                return DONE if self._interactive else worst
            try:
                self._serve(line)
            except ClientError as error:
                self._session.screen.failure(error)
                worst = max(worst, error.exit_code)
            except KeyboardInterrupt:
                if not self._interactive:
                    raise
                self._session.screen.line("")

    def _greet(self) -> None:
        status = self._session.ask("status", Nothing(), StatusView)
        algorithm = self._algorithm or status.algorithm
        self._session.screen.line(
            f"Cluster {status.cluster}: {status.hosts_up} of {status.hosts} hosts up, "
            f"{status.vms_running} of {status.vms} VMs running, algorithm {algorithm}."
        )

    def _read(self) -> str | None:
        if self._interactive:
            try:
                return input("Memory of the VM in GiB, or status, help, exit: ").strip()
            except EOFError:
                self._session.screen.line("")
                return None
        line = self._source.readline()
        return line.strip() if line else None

    def _serve(self, line: str) -> None:
        verbs: dict[str, Callable[[Session], None]] = {
            "status": views.status,
            "vms": views.vm_list,
            "hosts": views.host_list,
            "flush": lambda session: flush(session, True, WAIT_SECONDS),
        }
        if not line:
            return
        if line == "help":
            self._session.screen.text({"help": HELP}, HELP)
        elif line in verbs:
            verbs[line](self._session)
        else:
            self._submit(read_amount(line))

    def _submit(self, amount: Memory) -> None:
        vm = {"id": self._mint(), "cpu": 1, "memory": encode_spec(amount)}
        request = make(Submit, vms=[vm], algorithm=self._algorithm)
        started = self._session.ask("submit", request, OpsStarted)
        for note in started.notes:
            self._session.screen.line(f"note: {note}")
        self._session.screen.line(f"{vm['id']}: {memory(amount)}, 1 CPU")
        # One that waits in the queue may do so until many others have come.
        waiting = tuple(op for op in started.operations if op.waits_for)
        for op in waiting:
            self._session.screen.line(describe(op))
        followed = tuple(op for op in started.operations if not op.waits_for)
        ended = Follower(self._session, self._session.screen, WAIT_SECONDS).until_done(followed)
        if self._session.screen.json:
            self._session.screen.answer(OpsStarted(operations=(*waiting, *ended), notes=started.notes))
        check(ended, WAIT_SECONDS)


def read_amount(line: str) -> Memory:
    """The amount of memory that a line names. Raises InputError."""
    value: object = float(line) if _AMOUNT.fullmatch(line) else line
    try:
        return Memory.parse(value)
    except ValueError as error:
        raise InputError(
            f"{line[:40]!r} is no verb and no amount of memory; type a number of GiB such as 4, "
            "an amount such as 512MiB, or status, help or exit"
        ) from error
