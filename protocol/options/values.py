"""How each option's value is read: from text or from TOML, with a sentence about what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from protocol.logs import LEVELS
from protocol.spec import SpecError
from protocol.spec.fields import NAME_RULE, is_name
from protocol.spec.memory import MAX_MIB, Memory
from protocol.transport.access import JoinToken

Parse = Callable[[str, Any], Any]
_URI = re.compile(r"[a-z][a-z0-9+.-]*://[^\s]*\Z|simulated([:?][^\s]*)?\Z")
_BRIDGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}\Z")
_ADDRESS = re.compile(r"[A-Za-z0-9\[\]:._%-]{1,255}\Z")


class OptionError(Exception):
    """A value cannot be used; `str()` names the option, the value and what is right."""


def wrong(name: str, value: object, right: str) -> OptionError:
    """The error for a bad value."""
    shown = repr(value) if isinstance(value, str) else str(value)
    return OptionError(f"{name} is {shown[:80]}; it must be {right}")


def join_token(name: str, value: Any) -> str:
    """A join token, checked for damage; the sentence never repeats it."""
    try:
        JoinToken.decode(str(value))
    except SpecError as error:
        raise OptionError(error.message) from error
    return str(value)


def whole(least: int, most: int) -> Parse:
    """A whole number within limits."""

    def parse(name: str, value: Any) -> int:
        right = f"a whole number from {least} to {most}"
        try:
            number = int(value) if isinstance(value, str) else value
        except ValueError as error:
            raise wrong(name, value, right) from error
        if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
            raise wrong(name, value, right)
        return number

    return parse


def number(least: float, most: float) -> Parse:
    """A number within limits."""

    def parse(name: str, value: Any) -> float:
        right = f"a number from {least:g} to {most:g}"
        try:
            found = float(value)
        except (TypeError, ValueError) as error:
            raise wrong(name, value, right) from error
        if isinstance(value, bool) or not least <= found <= most:
            raise wrong(name, value, right)
        return found

    return parse


def gib(name: str, value: Any) -> int:
    """An amount of memory in GiB, or with a unit; 0 is allowed. In MiB."""
    right = f'a number of GiB from 0 to {MAX_MIB // 1024}, or a text such as "8192MiB"'
    try:
        amount = float(value)
    except (TypeError, ValueError):
        try:
            return Memory.parse(value).mib
        except ValueError as error:
            raise wrong(name, value, right) from error
    if isinstance(value, bool) or not 0 <= amount <= MAX_MIB / 1024:
        raise wrong(name, value, right)
    return round(amount * 1024)


def choice(*allowed: str) -> Parse:
    """One of some words."""

    def parse(name: str, value: Any) -> str:
        if value not in allowed:
            raise wrong(name, value, "one of " + ", ".join(allowed))
        return str(value)

    return parse


def matching(pattern: re.Pattern[str], right: str) -> Parse:
    """Text of some form."""

    def parse(name: str, value: Any) -> str:
        if not isinstance(value, str) or pattern.match(value) is None:
            raise wrong(name, value, right)
        return value

    return parse


def text(name: str, value: Any) -> str:
    """Any text that is not empty."""
    if not isinstance(value, str) or not value:
        raise wrong(name, value, "text")
    return value


def name_of(name: str, value: Any) -> str:
    """A name as hosts, pools and networks have."""
    if not isinstance(value, str) or not is_name(value):
        raise wrong(name, value, NAME_RULE)
    return value


def folder(name: str, value: Any) -> Path:
    """A path, made absolute."""
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise wrong(name, value, "a path")
    return Path(value).expanduser().absolute()


def flag(name: str, value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise wrong(name, value, "true or false")
    return value


def pairs(name: str, value: Any) -> dict[str, str]:
    """``k=v`` texts, or a table; keys are names."""
    if isinstance(value, dict):
        items = [(str(key), str(found)) for key, found in value.items()]
    elif isinstance(value, list) and all(isinstance(item, str) and "=" in item for item in value):
        items = [(item.split("=", 1)[0], item.split("=", 1)[1]) for item in value]
    else:
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        raise wrong(name, shown, "name=value")
    for key, found in items:
        if not is_name(key):
            raise wrong(name, f"{key}={found}", f"name=value; the name must be {NAME_RULE}")
        if len(found) > 253:
            raise wrong(name, f"{key}={found}", "name=value; the value has at most 253 characters")
    return dict(items)


def counts(name: str, value: Any) -> dict[str, int]:
    """``k=n`` texts, or a table of whole numbers."""
    read = whole(0, 2**53)
    return {key: read(f"{name} {key}", found) for key, found in pairs(name, value).items()}


log_level = choice(*LEVELS)
log_format = choice("text", "json")
hypervisor_uri = matching(_URI, "a libvirt URI such as qemu:///system, or simulated")
bridge_name = matching(_BRIDGE, "the name of a network interface, at most 15 characters")
address = matching(_ADDRESS, "an IP address or a host name")
