"""What a verb works with: the connection, the screen, and how it waits."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

import msgspec

from hpgreedy.client.arguments import Address, Common
from hpgreedy.client.errors import InputError
from hpgreedy.client.explain import explanation
from hpgreedy.client.follow import Follower, check
from hpgreedy.client.grid import Grid
from hpgreedy.client.screen import Screen
from hpgreedy.client.tables import op_table
from protocol.spec import SpecError, decode_spec
from protocol.verbs import Ask, OpsStarted, PlacementView

if TYPE_CHECKING:
    from hpgreedy.client.connection import Connection

A = TypeVar("A", bound=Ask)
T = TypeVar("T")


class Session:
    """One run of a verb; the connection is opened by the first request."""

    def __init__(self, common: Common, address: Address | None, screen: Screen) -> None:
        self.common = common
        self.address = address
        self.screen = screen
        self._connection: Connection | None = None

    def ask(self, verb: str, args: Ask, kind: type[T]) -> T:
        """Ask the coordinator. Raises RejectedError and UnreachableError."""
        if self._connection is None:
            from hpgreedy.client.connection import open_connection

            self._connection = open_connection(self.common, self.address)
        return self._connection.ask(verb, args, kind)

    def start(self, verb: str, args: Ask, wait: bool, timeout: float | None) -> None:
        """Start operations and, with `wait`, follow them to their end; then print them.

        Raises OperationsFailedError when one failed or had not ended after `timeout` seconds.
        """
        started = self.ask(verb, args, OpsStarted)
        self.notes(started.notes)
        self.explain(started.placements)
        if not wait:
            self.screen.answer(started, op_table(started.operations, time.time()))
            return
        ended = Follower(self, self.screen, timeout).until_done(started.operations)
        if self.screen.json:
            self.screen.answer(msgspec.structs.replace(started, operations=ended))
        check(ended, timeout)

    def notes(self, notes: Sequence[str]) -> None:
        """Print the coordinator's notes."""
        for note in notes:
            self.screen.line(f"note: {note}")

    def explain(self, placements: Sequence[PlacementView]) -> None:
        """Print why the VMs go where they go, as far as that was asked for; JSON has it in the answer."""
        if not self.screen.json:
            found = (placement.explanation for placement in placements)
            self.screen.answer(None, *(explanation(each) for each in found if each is not None))

    def show(self, value: object, *grids: Grid) -> None:
        """Print an answer."""
        self.screen.answer(value, *grids)

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def make(kind: type[A], **values: object) -> A:
    """The request out of what was typed; values that are None are left out. Raises InputError."""
    try:
        return decode_spec({name: value for name, value in values.items() if value is not None}, kind)
    except SpecError as error:
        raise InputError(error.message, error.field) from error
