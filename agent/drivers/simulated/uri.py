"""What stands behind ``--hypervisor simulated``."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from agent.terms import bad_cap, cpu_list
from protocol.commands import CommandError
from protocol.messages import NumaFacts
from protocol.spec import Memory
from protocol.spec.fields import is_name

SCHEME = "simulated"
# Each has all features of those before it.
MODELS = ("Conroe", "Penryn", "Nehalem", "Westmere", "SandyBridge", "IvyBridge", "Haswell", "Broadwell")
MOST_NODES = 64


class SimulatedOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The world's folder and what this host pretends to be.

    memory in MiB; speed of migrations in MiB/s; shared = all hosts of the world share one pool; numa = how
    many nodes it has; cpu_models from the poorest to the richest, each with all features of those before it.
    """

    world: Path
    cpus: int = 32
    memory_mib: int = 1024 * 1024
    speed: float = 4096.0
    shared: bool = False
    numa: int = 1
    cpu_models: tuple[str, ...] = MODELS


def is_simulated(uri: str) -> bool:
    """Whether a hypervisor URI means this driver."""
    return uri == SCHEME or uri.startswith((f"{SCHEME}:", f"{SCHEME}?"))


def parse_uri(uri: str, state: Path) -> SimulatedOptions:
    """Read ``simulated[:///abs/folder][?cpus=8&memory=64&speed=100&storage=shared]``, where ``numa=2`` and
    ``cpu-models=Conroe,Nehalem`` may stand as well.

    Without a folder the world lies beside the state folder. Raises CommandError("bad_arguments").
    """
    parts = urlsplit(uri)
    path = unquote(parts.path) if parts.scheme == SCHEME else ""
    if parts.netloc or (path and not path.startswith("/")):
        raise _wrong(uri, "its folder must be absolute, as in simulated:///var/lib/world")
    found = SimulatedOptions(world=Path(path) if path.strip("/") else state.parent / "simulated-world")
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        found = _with(found, uri, name, value)
    if found.numa > found.cpus:
        raise _wrong(uri, f"numa is {found.numa}; it must be at most cpus, which is {found.cpus}")
    return found


def simulated_nodes(options: SimulatedOptions) -> tuple[NumaFacts, ...]:
    """The host's NUMA nodes, among which its CPUs and memory are divided evenly."""
    count = options.numa
    starts = [node * options.cpus // count for node in range(count + 1)]
    return tuple(
        NumaFacts(
            node=node,
            cpuset=cpu_list(range(starts[node], starts[node + 1])),
            cpus=starts[node + 1] - starts[node],
            memory_mib=options.memory_mib // count,
        )
        for node in range(count)
    )


def offered_models(options: SimulatedOptions, cap: str) -> tuple[str, ...]:
    """The CPU models up to `cap`, all without one; raises CommandError("bad_arguments")."""
    models = options.cpu_models
    if not cap:
        return models
    if cap not in models:
        raise bad_cap(cap, "which this simulated host does not have", models)
    return models[: models.index(cap) + 1]


def _with(options: SimulatedOptions, uri: str, name: str, value: str) -> SimulatedOptions:
    try:
        if name == "cpus" and 1 <= int(value) <= 4096:
            return msgspec.structs.replace(options, cpus=int(value))
        if name == "memory":
            amount = Memory.parse(float(value) if value.replace(".", "", 1).isdigit() else value)
            return msgspec.structs.replace(options, memory_mib=amount.mib)
        if name == "numa" and 1 <= int(value) <= MOST_NODES:
            return msgspec.structs.replace(options, numa=int(value))
        if name == "speed" and 0.1 <= float(value) <= 1e9:
            return msgspec.structs.replace(options, speed=float(value))
    except ValueError as error:
        raise _wrong(uri, f"{name} is {value!r}, which is no such number") from error
    if name == "storage" and value in ("own", "shared"):
        return msgspec.structs.replace(options, shared=value == "shared")
    models = tuple(value.split(","))
    if name == "cpu-models" and all(map(is_name, models)) and len(set(models)) == len(models):
        return msgspec.structs.replace(options, cpu_models=models)
    raise _wrong(
        uri,
        f"{name}={value} is not known; known are cpus (1 to 4096), memory (GiB), speed (MiB/s), "
        f"storage (own or shared), numa (1 to {MOST_NODES} nodes) and cpu-models (names, the poorest first)",
    )


def _wrong(uri: str, why: str) -> CommandError:
    return CommandError("bad_arguments", f"hypervisor is {uri!r}: {why}")
