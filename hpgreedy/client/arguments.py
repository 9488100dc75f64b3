"""The words of a command line, before any verb is known in detail: address, common options, the rest."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from hpgreedy.client.errors import UsageError

_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,252}[A-Za-z0-9_.])?")
COMMON_OPTIONS = {
    "--json": "print the answer as JSON on standard output, errors too",
    "--state": "folder that holds the keys: a state root of the coordinator, or one of the client's own",
    "--port": "the coordinator's port, 1 to 65535 (default 5000)",
    "--join": "a join token; this client's own key is introduced with it before the verb runs",
    "--to": "the coordinator's address; stands before the verb, in place of the bare address",
}
_FLAGS = {"--json"}


class Address(NamedTuple):
    """Where a coordinator is; `port` None = not named."""

    host: str
    port: int | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"


class Common(NamedTuple):
    """The options that every verb takes."""

    json: bool = False
    state: Path | None = None
    join: str | None = None


class Line(NamedTuple):
    """A command line taken apart; no `words` = the prompt, `address` None = this machine's coordinator."""

    common: Common
    address: Address | None
    words: tuple[str, ...]


def read_line(argv: Sequence[str], verbs: Collection[str]) -> Line:
    """Take a command line apart: ``[ADDRESS] [VERB|ALGORITHM …]`` with common options anywhere.

    The first word is the address unless it is a verb or `--to` names the address. Raises UsageError.
    """
    options, words = _split(argv)
    to = options.get("--to")
    address = None if to is None else parse_address(to, "--to")
    if address is None and words and words[0] not in verbs and not words[0].startswith("-"):
        address = parse_address(words.pop(0), "the coordinator's address")
    port = options.get("--port")
    if port is not None:
        number = _port(port, "--port")
        if address is not None and address.port not in (None, number):
            raise UsageError(
                f"--port is {port} and the address names port {address.port}; give one", "--port"
            )
        address = Address("" if address is None else address.host, number)
    state = options.get("--state")
    common = Common("--json" in options, None if state is None else Path(state), options.get("--join"))
    return Line(common, address, tuple(words))


def parse_address(text: str, what: str) -> Address:
    """Read ``host``, ``host:port``, ``v6``, ``[v6]`` or ``[v6]:port``; raises UsageError naming `what`."""
    bracketed = re.fullmatch(r"\[([^\]]*)\](?::(.*))?", text)
    if bracketed:
        host, port = bracketed[1], bracketed[2]
        good = _is_v6(host)
    elif text.count(":") > 1:
        host, port = text, None
        good = _is_v6(host)
    else:
        host, _, rest = text.partition(":")
        port = rest if ":" in text else None
        good = _HOST.fullmatch(host) is not None
    if not good:
        raise UsageError(
            f"{what} is {_shown(text)}; it must be a host name or IP address, with a port as host:port "
            "or [IPv6]:port",
            "address",
        )
    return Address(host, None if port is None else _port(port, f"the port in {_shown(text)}"))


def _is_v6(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 6
    except ValueError:
        return False


def _port(text: str, what: str) -> int:
    if re.fullmatch(r"[0-9]{1,5}", text) and 1 <= int(text) <= 65535:
        return int(text)
    raise UsageError(f"{what} is {_shown(text)}; it must be a number from 1 to 65535", "port")


def _split(argv: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    options: dict[str, str] = {}
    words: list[str] = []
    rest = iter(argv)
    for word in rest:
        if word == "--":
            words += [word, *rest]
            break
        name, equals, value = word.partition("=")
        if name not in COMMON_OPTIONS or (name == "--to" and words):
            # After the verb --to belongs to the verb: the host a VM moves to.
            words.append(word)
        elif name in _FLAGS:
            if equals:
                raise UsageError(f"{name} is given the value {_shown(value)}; it takes none", name)
            options[name] = ""
        else:
            options[name] = value if equals else _value(name, rest)
    return options, words


def _value(name: str, rest: Iterator[str]) -> str:
    value = next(rest, "")
    if not value or value.startswith("--"):
        raise UsageError(f"{name} lacks its value: {COMMON_OPTIONS[name]}", name)
    return value


def _shown(text: str) -> str:
    shown = repr(text)
    return shown if len(shown) <= 60 else shown[:57] + "..."
