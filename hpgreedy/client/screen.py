"""Where answers, progress and sentences go: JSON or text, a terminal or a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import msgspec

from hpgreedy.client.errors import ClientError, OperationsFailedError
from hpgreedy.client.grid import Grid, plain, rich_table
from hpgreedy.client.units import clean

if TYPE_CHECKING:
    from rich.console import Console

_MOST_LIVE_LINES = 10


class Screen:
    """Answers on `out` (JSON alone with `json`), errors as one sentence on `err`."""

    def __init__(self, json: bool = False, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.json = json
        self._out = sys.stdout if out is None else out
        self._err = sys.stderr if err is None else err
        self.terminal = not json and self._out.isatty()

    def answer(self, value: object, *grids: Grid) -> None:
        """An answer: `value` as JSON, or else the grids one below the other."""
        if self.json:
            self._out.write(to_json(value) + "\n")
        else:
            for n, grid in enumerate(grids):
                self._grid(grid, first=n == 0)
        self._out.flush()

    def text(self, value: object, text: str, end: str = "\n") -> None:
        """An answer that is text: `value` as JSON, or else `text` as it stands."""
        self._out.write(to_json(value) + "\n" if self.json else text + end)
        self._out.flush()

    def line(self, text: str) -> None:
        """A line of progress or a hint; left out with JSON."""
        if not self.json:
            self._out.write(clean(text).replace("\n", " ") + "\n")
            self._out.flush()

    def notice(self, text: str) -> None:
        """One line on standard error that is no failure."""
        self._err.write(clean(text).replace("\n", " ") + "\n")
        self._err.flush()

    def failure(self, error: ClientError) -> None:
        """An error: one sentence on standard error, and the error object on standard output with JSON.

        What a refusal says of each host follows, a line each.

        Operations that failed are printed already, each with its own error.
        """
        if self.json and not isinstance(error, OperationsFailedError):
            self._out.write(to_json({"error": error_object(error)}) + "\n")
            self._out.flush()
        self.notice(error.message)
        if error.details and not self.json:
            from hpgreedy.client.details import refusal

            for line in plain(refusal(error.details)).splitlines():
                self.notice(line)

    @contextmanager
    def live(self) -> Iterator[LiveArea | None]:
        """An area of a terminal that is drawn anew with each update; None where there is no terminal."""
        target = self._out if self.terminal else self._err
        if not target.isatty():
            yield None
            return
        from rich.live import Live

        with Live(console=_console(target), transient=True, refresh_per_second=8) as live:
            yield LiveArea(live)

    @contextmanager
    def transfer(self, what: str, total: int) -> Iterator[Transfer]:
        """A progress bar over `total` bytes; on anything but a terminal, a line each tenth."""
        target = self._out if self.terminal else self._err
        if target.isatty():
            from rich import progress

            columns = (
                progress.TextColumn("{task.description}", markup=False),
                progress.BarColumn(),
                progress.DownloadColumn(binary_units=True),
                progress.TransferSpeedColumn(),
                progress.TimeRemainingColumn(),
            )
            with progress.Progress(*columns, console=_console(target), transient=True) as bars:
                task = bars.add_task(what, total=total)
                yield Transfer(lambda done: bars.update(task, completed=done))
        else:
            yield Transfer(_tenths(self, what, total))

    def _grid(self, grid: Grid, first: bool) -> None:
        if self.terminal and grid.rows:
            _console(self._out).print(rich_table(grid))
        else:
            self._out.write(("" if first else "\n") + plain(grid))


class LiveArea:
    """Lines on a terminal that replace each other."""

    def __init__(self, live: Any) -> None:
        self._live = live

    def line(self, text: str) -> None:
        """Print a line above the area, where it stays."""
        from rich.text import Text

        self._live.console.print(Text(clean(text).replace("\n", " ")), soft_wrap=True)

    def update(self, lines: Sequence[str]) -> None:
        """Show these lines, the first ones when they are many."""
        from rich.text import Text

        shown = [clean(line) for line in lines[:_MOST_LIVE_LINES]]
        if len(lines) > len(shown):
            shown.append(f"… and {len(lines) - len(shown)} more")
        self._live.update(Text("\n".join(shown), no_wrap=True, overflow="ellipsis"))


class Transfer:
    """How far a transfer is."""

    def __init__(self, show: Any) -> None:
        self._show = show

    def at(self, done: int) -> None:
        """`done` bytes are through."""
        self._show(done)


def error_object(error: ClientError) -> dict[str, Any]:
    """What stands under "error" in JSON; `details` only where there are some."""
    found: dict[str, Any] = {"code": error.code, "message": error.message, "field": error.field}
    return {**found, "details": error.details} if error.details else found


def to_json(value: object) -> str:
    """The value as indented JSON; non-finite numbers become null."""
    return msgspec.json.format(msgspec.json.encode(value, enc_hook=_plain_number), indent=2).decode()


def _plain_number(value: object) -> object:
    if isinstance(value, int):
        return int(value)
    raise NotImplementedError(type(value))


def _console(target: TextIO) -> Console:
    from rich.console import Console

    return Console(file=target, markup=False, highlight=False, emoji=False)


def _tenths(screen: Screen, what: str, total: int) -> Any:
    shown = -1

    def show(done: int) -> None:
        nonlocal shown
        tenth = 10 if total <= 0 else 10 * done // total
        if tenth > shown:
            shown = tenth
            screen.line(f"{what}: {10 * tenth}%")

    return show
