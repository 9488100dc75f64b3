"""Tables as values, and how they are drawn: plain and stable for programs, with rich on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from hpgreedy.client.units import clean

if TYPE_CHECKING:
    from rich.table import Table

_COLOURS = {
    "up": "green",
    "running": "green",
    "ready": "green",
    "done": "green",
    "stopped": "dim",
    "draining": "yellow",
    "migrating": "cyan",
    "pending": "cyan",
    "provisioning": "cyan",
    "starting": "cyan",
    "stopping": "cyan",
    "deleting": "cyan",
    "uploading": "cyan",
    "unreachable": "red",
    "hypervisor-down": "red",
    "crashed": "red",
    "missing": "red",
    "unknown": "red",
    "failed": "red",
    "left": "dim",
}


class Grid(NamedTuple):
    """Column heads and rows of text; no heads = pairs of a name and a value. `empty` stands for no rows."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    empty: str = ""


def plain(grid: Grid) -> str:
    """The grid as lines: columns apart by two blanks, nothing cut or wrapped, no colour."""
    if not grid.rows and grid.empty:
        return grid.empty + "\n"
    lines: list[Sequence[str]] = [[_line(cell) for cell in row] for row in grid.rows]
    if grid.heads:
        lines.insert(0, grid.heads)
    widths = [max(len(line[n]) for line in lines) for n in range(len(lines[0]))] if lines else []
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n"
        for line in lines
    )


def rich_table(grid: Grid) -> Table:
    """The grid for a terminal: first columns are never cut, long texts wrap."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_header=bool(grid.heads), pad_edge=False)
    for n in range(len(grid.rows[0]) if grid.rows else len(grid.heads)):
        table.add_column(
            grid.heads[n] if grid.heads else "",
            no_wrap=n == 0,
            overflow="fold",
            style="bold" if n == 0 else "",
        )
    for row in grid.rows:
        table.add_row(*(Text(clean(cell), style=_COLOURS.get(cell, "")) for cell in row))
    return table


def _line(text: str) -> str:
    return clean(text).replace("\n", " ")
