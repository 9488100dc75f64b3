"""What stands behind ``--hypervisor simulated``."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from protocol.commands import CommandError
from protocol.spec import Memory

SCHEME = "simulated"


class SimulatedOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The world's folder and what this host pretends to be.

    memory in MiB; speed of migrations in MiB/s; shared = all hosts of the world share one pool.
    """

    world: Path
    cpus: int = 32
    memory_mib: int = 1024 * 1024
    speed: float = 4096.0
    shared: bool = False


def is_simulated(uri: str) -> bool:
    """Whether a hypervisor URI means this driver."""
    return uri == SCHEME or uri.startswith((f"{SCHEME}:", f"{SCHEME}?"))


def parse_uri(uri: str, state: Path) -> SimulatedOptions:
    """Read ``simulated[:///abs/folder][?cpus=8&memory=64&speed=100&storage=shared]``.

    Without a folder the world lies beside the state folder. Raises CommandError("bad_arguments").
    """
    parts = urlsplit(uri)
    path = unquote(parts.path) if parts.scheme == SCHEME else ""
    if parts.netloc or (path and not path.startswith("/")):
        raise _wrong(uri, "its folder must be absolute, as in simulated:///var/lib/world")
    found = SimulatedOptions(world=Path(path) if path.strip("/") else state.parent / "simulated-world")
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        found = _with(found, uri, name, value)
    return found


def _with(options: SimulatedOptions, uri: str, name: str, value: str) -> SimulatedOptions:
    try:
        if name == "cpus" and 1 <= int(value) <= 4096:
            return msgspec.structs.replace(options, cpus=int(value))
        if name == "memory":
            amount = Memory.parse(float(value) if value.replace(".", "", 1).isdigit() else value)
            return msgspec.structs.replace(options, memory_mib=amount.mib)
        if name == "speed" and 0.1 <= float(value) <= 1e9:
            return msgspec.structs.replace(options, speed=float(value))
    except ValueError as error:
        raise _wrong(uri, f"{name} is {value!r}, which is no such number") from error
    if name == "storage" and value in ("own", "shared"):
        return msgspec.structs.replace(options, shared=value == "shared")
    raise _wrong(
        uri,
        f"{name}={value} is not known; known are cpus (1 to 4096), memory (GiB), speed (MiB/s) and "
        "storage (own or shared)",
    )


def _wrong(uri: str, why: str) -> CommandError:
    return CommandError("bad_arguments", f"hypervisor is {uri!r}: {why}")
