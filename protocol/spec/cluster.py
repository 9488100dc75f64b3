"""The cluster file: hosts of a simulation and VMs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from protocol.spec.errors import SpecError
from protocol.spec.host import HostSpec
from protocol.spec.parse import decode_spec
from protocol.spec.sentences import shorten
from protocol.spec.simulated import SimulatedVm
from protocol.spec.vm import VmSpec

MAX_VMS = 100_000


class ClusterFile(msgspec.Struct, frozen=True):
    """Hosts and VMs in the order in which they were written."""

    hosts: tuple[HostSpec, ...] = ()
    vms: tuple[VmSpec, ...] = ()


def parse_cluster_file(raw: object, *, simulation: bool = False) -> ClusterFile:
    """Read ``{"hosts": [...], "vms": [...]}``, a list of VM objects or a single VM object.

    In a `simulation` VMs may lack what only a running one needs: see `SimulatedVm`. Raises SpecError for
    anything else, for unknown fields and for ids that occur twice.
    """
    hosts, vms = _parts(raw)
    kind = SimulatedVm if simulation else VmSpec
    parsed = ClusterFile(
        tuple(decode_spec(item, HostSpec, f"hosts[{n}]") for n, item in enumerate(hosts)),
        tuple(decode_spec(item, kind, f"vms[{n}]") for n, item in enumerate(vms)),
    )
    _refuse_duplicates("hosts", parsed.hosts)
    _refuse_duplicates("vms", parsed.vms)
    return parsed


def _parts(raw: object) -> tuple[list[Any], list[Any]]:
    if isinstance(raw, list):
        return [], raw
    if not isinstance(raw, dict):
        raise SpecError(
            f"the input is {shorten(raw)}; it must be a cluster file "
            '{"hosts": [...], "vms": [...]}, a list of VMs or one VM'
        )
    if "vms" not in raw and "hosts" not in raw:
        return [], [raw]
    for name in raw:
        if name not in ("hosts", "vms"):
            raise SpecError(f'there is the unknown field {shorten(name)}; known are "hosts" and "vms"', name)
    hosts, vms = raw.get("hosts", []), raw.get("vms", [])
    for name, value in (("hosts", hosts), ("vms", vms)):
        if not isinstance(value, list):
            raise SpecError(f"{name} is {shorten(value)}; it must be a list", name)
        if len(value) > MAX_VMS:
            raise SpecError(f"{name} has {len(value)} entries; at most {MAX_VMS} are read", name)
    return hosts, vms


def _refuse_duplicates(name: str, items: Sequence[HostSpec | VmSpec]) -> None:
    seen: dict[str, int] = {}
    for n, item in enumerate(items):
        first = seen.setdefault(item.key, n)
        if first != n:
            raise SpecError(
                f"{name}[{n}].id is {shorten(item.id)}, which {name}[{first}] has already; "
                'ids must be unique (1 and "1" are the same)',
                f"{name}[{n}].id",
            )
