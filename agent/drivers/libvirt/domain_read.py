"""What a domain's XML says, as values; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from agent.drivers.libvirt.metadata import Stamped, parse_xml, read_metadata
from agent.drivers.libvirt.numa_xml import pinned_nodes
from protocol.commands import CommandError
from protocol.spec import Memory, SpecError, VmSpec, decode_spec
from protocol.spec.fields import NAME_RULE

_UNITS = {"b": 1, "bytes": 1, "k": 1024, "kib": 1024, "kb": 1000, "m": 1024**2, "mib": 1024**2, "mb": 1000**2,
          "g": 1024**3, "gib": 1024**3, "gb": 1000**3, "t": 1024**4, "tib": 1024**4}  # fmt: skip
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_BRIDGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}")


class DomainFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A domain as its XML describes it; sizes in MiB, rounded up. `kind` is kvm, qemu or another type.

    disks: sources of the disks it may write to, the empty text for one that is no file or device.
    pinned_nodes: to how many NUMA nodes we pinned it; what others pinned is theirs.
    """

    uuid: str
    name: str
    kind: str
    cpus: int
    max_cpus: int
    memory_mib: int
    max_memory_mib: int
    macs: tuple[str, ...]
    nics: tuple[dict[str, str], ...]
    stamped: Stamped | None
    disks: tuple[str, ...] = ()
    pinned_nodes: int = 0


def read_domain(xml: str) -> DomainFacts:
    """Read a domain's XML; raises ValueError when it is none."""
    root = parse_xml(xml)
    cards = tuple(nic for nic in map(_nic, root.findall("devices/interface")) if nic)
    vcpu = root.find("vcpu")
    ceiling = int(vcpu.text) if vcpu is not None and vcpu.text else 1
    maximum = _mib(root.find("memory"))
    stamped = read_metadata(root)
    ours_pinned = stamped is not None and stamped.spec.numa is not None
    return DomainFacts(
        uuid=(root.findtext("uuid") or "").lower(),
        name=root.findtext("name") or "",
        kind=root.get("type", ""),
        cpus=int(vcpu.get("current", ceiling)) if vcpu is not None else 1,
        max_cpus=ceiling,
        memory_mib=_mib(root.find("currentMemory")) or maximum,
        max_memory_mib=maximum,
        macs=tuple(card["mac"] for card in cards),
        nics=cards,
        stamped=stamped,
        disks=tuple(_written(root)),
        pinned_nodes=pinned_nodes(root) if ours_pinned else 0,
    )


def derived_spec(facts: DomainFacts) -> VmSpec:
    """The spec that describes a domain we did not make; raises CommandError when none can."""
    raw: dict[str, Any] = {
        "id": facts.name,
        "cpu": facts.cpus,
        "memory": str(Memory(max(1, facts.memory_mib)).mib) + "MiB",
        "nics": list(facts.nics),
    }
    if facts.max_cpus > facts.cpus:
        raw["max_cpu"] = facts.max_cpus
    if facts.max_memory_mib > facts.memory_mib:
        raw["max_memory"] = f"{facts.max_memory_mib}MiB"
    try:
        return decode_spec(raw, VmSpec)
    except SpecError as error:
        raise CommandError(
            "unsupported",
            f"domain {facts.name!r} cannot be adopted: {error}; its name must be {NAME_RULE}"
            if error.field == "id"
            else f"domain {facts.name!r} cannot be adopted: {error}",
        ) from error


def _nic(element: Any) -> dict[str, str] | None:
    mac = element.find("mac")
    address = (mac.get("address", "") if mac is not None else "").lower()
    if not _MAC.fullmatch(address):
        return None
    source = element.find("source")
    card = {"mac": address}
    kind = element.get("type")
    name = source.get(kind) if source is not None and kind in ("bridge", "network") else None
    if name and (kind == "network" or _BRIDGE.fullmatch(name)):
        card[kind] = name
    return card


def _mib(element: Any) -> int:
    if element is None or not element.text:
        return 0
    size = int(element.text) * _UNITS.get(element.get("unit", "KiB").lower(), 1024)
    return -(-size // 1024**2)


def _written(root: Any) -> Iterator[str]:
    for disk in root.findall("devices/disk"):
        if disk.get("device", "disk") != "disk" or disk.find("readonly") is not None:
            continue
        source = disk.find("source")
        if source is not None:
            yield source.get("file") or source.get("dev") or ""
