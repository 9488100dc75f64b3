"""XML of storage pools and volumes; pure."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from lxml import etree
from lxml.builder import E

from agent.drivers.libvirt.metadata import parse_xml


def pool_xml(name: str, path: Path) -> str:
    """A directory pool."""
    # Guests' QEMU may run as another user: it has to enter the folder, not to list it.
    target = E.target(E.path(str(path)), E.permissions(E.mode("0711")))
    return _text(E.pool({"type": "dir"}, E.name(name), target))


def pool_path(xml: str) -> tuple[str, str]:
    """Type and path of a pool."""
    root = parse_xml(xml)
    return root.get("type", ""), root.findtext("target/path") or ""


def volume_xml(
    name: str, capacity: int, backing: Path | None = None, backing_format: Literal["qcow2", "raw"] = "raw"
) -> str:
    """A qcow2 volume of `capacity` bytes, empty or over `backing`, whose format is never probed."""
    volume = E.volume(
        E.name(name),
        E.capacity({"unit": "bytes"}, str(capacity)),
        E.allocation({"unit": "bytes"}, "0"),
        E.target(E.format({"type": "qcow2"}), E.permissions(E.mode("0600")), E.compat("1.1")),
    )
    if backing is not None:
        volume.append(E.backingStore(E.path(str(backing)), E.format({"type": backing_format})))
    return _text(volume)


def _text(element: object) -> str:
    return str(etree.tostring(element, encoding="unicode"))
