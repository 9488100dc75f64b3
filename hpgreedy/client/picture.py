"""Courses over time as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpgreedy.client.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpgreedy.simulation import Course

PICTURES = (".png", ".svg")
PANELS = (
    ("hosts_used", "hosts in use", 1),
    ("cpu", "vCPUs given out, %", 100),
    ("memory", "memory given out, %", 100),
    ("fragmentation", "fragmentation, %", 100),
    ("rejected", "requests refused", 1),
    ("vms", "VMs", 1),
)
# Okabe and Ito's colours, which people with any colour vision tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8B8000")
STYLES = ("-", "--", ":")
UNITS = ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes"))


def check_picture(path: str) -> None:
    """Raise UsageError for a kind of picture that is not drawn, and where the library is missing."""
    if Path(path).suffix.lower() not in PICTURES:
        raise UsageError(f"--picture is {path[:80]!r}; it must end in {' or '.join(PICTURES)}", "--picture")
    if not Path(path).absolute().parent.is_dir():
        raise UsageError(f"--picture is {path[:80]!r}; its folder does not exist", "--picture")
    try:
        import matplotlib.figure  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise InputError(
            "--picture needs matplotlib, which is not installed; `pip install matplotlib` adds it",
            "--picture",
        ) from error


def draw(courses: Sequence[Course], path: str) -> None:
    """One panel for each quantity, one line for each algorithm. Raises InputError if it cannot be written."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 8), layout="constrained")
    axes: Any = figure.subplots(2, 3, sharex=True)
    unit, word = next(
        ((unit, word) for unit, word in UNITS if courses[0].samples[-1].at >= 2 * unit), (1.0, "seconds")
    )
    for axis, (field, title, factor) in zip(axes.flat, PANELS, strict=True):
        for n, course in enumerate(courses):
            axis.plot(
                [each.at / unit for each in course.samples],
                [getattr(each, field) * factor for each in course.samples],
                label=course.algorithm,
                color=COLOURS[n % len(COLOURS)],
                linestyle=STYLES[n // len(COLOURS) % len(STYLES)],
                linewidth=1.4,
            )
        axis.set_title(title, fontsize=11)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    for axis in axes[-1]:
        axis.set_xlabel(word)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 6), frameon=False)
    svg = Path(path).suffix.lower() == ".svg"
    try:
        # Without these, two pictures of the same courses would differ.
        with mpl.rc_context({"svg.hashsalt": "hpgreedy", "svg.fonttype": "none"}):
            figure.savefig(path, dpi=110, metadata={"Date": None} if svg else None)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}", "--picture") from error
