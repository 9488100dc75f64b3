"""libvirt's own configuration files: one setting read, one setting changed; pure."""

from __future__ import annotations

import re


def setting(text: str, key: str) -> str | None:
    """The value of `key` as text without quotes; None where it is not set."""
    found = None
    for line in text.splitlines():
        match = _line(key).match(line)
        if match is not None:
            found = match.group(2).strip()
    return None if found is None else _unquoted(found)


def with_setting(text: str, key: str, value: str | int) -> str:
    """The same file with `key` set to `value`; every other line stays as it is."""
    wanted = f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}"
    lines = [line for line in text.splitlines() if _line(key).match(line) is None]
    return "\n".join([*lines, wanted]) + "\n"


def _line(key: str) -> re.Pattern[str]:
    return re.compile(rf"^\s*({re.escape(key)})\s*=(.*)$")


def _unquoted(value: str) -> str:
    if value[:1] in ('"', "'"):
        return value[1:].split(value[0], 1)[0]
    return value.split("#", 1)[0].strip()
