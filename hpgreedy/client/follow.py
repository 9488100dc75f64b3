"""Watching operations until they end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from hpgreedy.client.errors import OperationsFailedError, UnreachableError
from hpgreedy.client.screen import LiveArea, Screen
from hpgreedy.client.tables import progress_text
from hpgreedy.client.units import size
from protocol.verbs import OpShow, OpView

if TYPE_CHECKING:
    from hpgreedy.client.connection import Asker

POLL_SECONDS = 0.25
LINE_SECONDS = 2.0
SILENCE_SECONDS = 120.0
_WINDOW = 8
_DID = {
    "create": "running",
    "delete": "deleted",
    "migrate": "migrated",
    "start": "running",
    "stop": "stopped",
    "adopt": "adopted",
    "delete_image": "image deleted",
}


class _Shown(NamedTuple):
    state: tuple[str, str | None, bool]
    text: str
    at: float


class Follower:
    """Follows operations; `clock` and `sleep` in seconds, `timeout` None = until they end."""

    def __init__(
        self,
        asker: Asker,
        screen: Screen,
        timeout: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._asker = asker
        self._screen = screen
        self._timeout = timeout
        self._clock = clock
        self._sleep = sleep
        self._shown: dict[int, _Shown] = {}
        self._heard = clock()

    def until_done(self, operations: Sequence[OpView]) -> tuple[OpView, ...]:
        """Follow all until they end or the time is up; the last known views, in the same order."""
        known = {op.id: op for op in operations}
        self._heard = start = self._clock()
        with self._screen.live() as area:
            for op in operations:
                self._show(op, area)
            while open_ids := [number for number, op in known.items() if not op.done]:
                if self._timeout is not None and self._clock() - start >= self._timeout:
                    break
                self._poll(known, open_ids, area)
                if area is not None:
                    area.update([describe(op) for op in known.values() if not op.done])
                if any(not op.done for op in known.values()):
                    self._sleep(POLL_SECONDS)
        return tuple(known[op.id] for op in operations)

    def _poll(self, known: dict[int, OpView], open_ids: Sequence[int], area: LiveArea | None) -> None:
        """Look at the first open operations; those that have ended make room for further ones."""
        still_open = 0
        for number in open_ids:
            try:
                known[number] = self._asker.ask("op.show", OpShow(id=number), OpView)
            except UnreachableError as error:
                if self._clock() - self._heard >= SILENCE_SECONDS:
                    raise UnreachableError(
                        f"{error.message}; the operation goes on, look at it later with 'op show {number}'"
                    ) from error
                return
            self._heard = self._clock()
            self._show(known[number], area)
            still_open += not known[number].done
            if still_open >= _WINDOW:
                return

    def _show(self, op: OpView, area: LiveArea | None) -> None:
        """Print a line for each new state, and for new figures every few seconds; ends only when live."""
        now = self._clock()
        state, text = (op.state, op.target, op.done), describe(op)
        last = self._shown.get(op.id)
        if last is not None and (last.text == text or (last.state == state and now - last.at < LINE_SECONDS)):
            return
        self._shown[op.id] = _Shown(state, text, now)
        if area is None:
            self._screen.line(text)
        elif op.done and not self._screen.json:
            area.line(text)


def subject(op: OpView) -> str:
    """What an operation is about."""
    return f"operation {op.id}" if op.vm is None else str(op.vm)


def describe(op: OpView) -> str:
    """One line on where an operation stands, or how it ended."""
    name = subject(op)
    if op.done:
        return f"{name}: {_ending(op)}"
    if op.kind == "migrate":
        way = f"{op.source or '?'} -> {op.target or '?'}"
        figures = progress_text(op)
        return f"{name} {way}: {figures or op.state}" + (f" ({op.error})" if op.error else "")
    if op.waits_for:
        return f"{name}: {op.waits_for}"
    where = f" on {op.target}" if op.target else ""
    return f"{name}: {op.state}{where}" + (f" ({op.error})" if op.error else "")


def _ending(op: OpView) -> str:
    if not op.ok:
        return f"{op.kind} {_ended(op)}: {op.error or 'no reason was given'}"
    did = _DID.get(op.kind, "done")
    if op.kind != "migrate":
        return did + (f" on {op.target}" if op.target and op.kind in ("create", "start") else "")
    text = f"migrated to {op.target or '?'}"
    if "total_ms" in op.outcome:
        text += f" in {op.outcome['total_ms'] / 1000:.2f}s"
    if "downtime_ms" in op.outcome:
        text += f", downtime {op.outcome['downtime_ms']:g}ms"
    if "transferred" in op.outcome:
        text += f", {size(op.outcome['transferred'])} sent"
    return text


def _ended(op: OpView) -> str:
    return "was cancelled" if op.state == "cancelled" else "failed"


def check_cancelled(operations: Sequence[OpView], timeout: float | None = None) -> None:
    """Raise OperationsFailedError with one sentence when some ended otherwise than as cancelled."""
    for op in operations:
        if op.done and op.state != "cancelled":
            last = op.error or next((step.note for step in reversed(op.history) if step.note), "")
            raise OperationsFailedError(
                f"operation {op.id} was not cancelled, it is {op.state}" + (f": {last}" if last else "")
            )
    check([op for op in operations if not op.done], timeout)


def check(operations: Sequence[OpView], timeout: float | None = None) -> None:
    """Raise OperationsFailedError with one sentence when some did not end well."""
    failed = [op for op in operations if op.done and not op.ok]
    still_open = [op for op in operations if not op.done]
    if failed:
        first = failed[0]
        start = f"{first.kind} of {subject(first)} {_ended(first)}"
        if len(operations) > 1:
            start = f"{len(failed)} of {len(operations)} operations failed, first {subject(first)}"
        raise OperationsFailedError(f"{start}: {first.error or 'no reason was given'}")
    if still_open:
        numbers = ", ".join(str(op.id) for op in still_open[:5]) + (", …" if len(still_open) > 5 else "")
        raise OperationsFailedError(
            f"{len(still_open)} of {len(operations)} operations had not ended after {timeout or 0:g} s "
            f"and go on ({numbers}); follow one with 'op watch {still_open[0].id}'"
        )
