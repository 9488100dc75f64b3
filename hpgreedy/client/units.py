"""Figures as a person reads them."""

from __future__ import annotations

import re

_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\-_])?")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_MIB = 1024 * 1024


def memory(mib: float) -> str:
    """An amount given in MiB: ``512MiB``, ``1.5GiB``, ``2TiB``."""
    if mib < 1024:
        return f"{mib:g}MiB"
    if mib < 1024 * 1024:
        return f"{round(mib / 1024, 2):g}GiB"
    return f"{round(mib / 1024 / 1024, 2):g}TiB"


def size(count: float) -> str:
    """An amount given in bytes: ``17B``, ``3.5KiB``, ``24MiB``."""
    if count < 1024:
        return f"{count:g}B"
    if count < _MIB:
        return f"{round(count / 1024, 1):g}KiB"
    return memory(round(count / _MIB, 1))


def duration(seconds: float) -> str:
    """A span of time: ``7s``, ``12m``, ``3h05m``, ``4d``."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m"
    if whole < 48 * 3600:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d"


def used(part: float, whole: float, show: str = "g") -> str:
    """``3/8 (38%)``; with `show` "memory" the figures are MiB."""
    figures = (memory(part), memory(whole)) if show == "memory" else (f"{part:g}", f"{round(whole, 2):g}")
    return f"{figures[0]}/{figures[1]}" + (f" ({part / whole:.0%})" if whole else "")


def bar(part: float, whole: float, width: int = 8) -> str:
    """A bar of `width` signs, filled by the share of `part` in `whole`."""
    full = 0 if whole <= 0 else min(width, max(0, round(width * part / whole)))
    return "█" * full + "░" * (width - full)


def clean(text: str) -> str:
    """Text from elsewhere without anything that would steer a terminal."""
    if text.isprintable():
        return text
    return _CONTROL.sub("", _ESCAPES.sub("", text.replace("\r\n", "\n")))
