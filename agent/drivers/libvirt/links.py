"""The host's network devices, as iproute2 shows them. Works without libvirt."""

from __future__ import annotations

import json
import subprocess

import msgspec

_SECONDS = 5.0
_BRIDGE_KINDS = ("bridge", "openvswitch")
# What carries the traffic of another device or of a guest: counting it would count twice.
_VIRTUAL_KINDS = (*_BRIDGE_KINDS, "tun", "vxlan", "vlan", "dummy", "bond", "team", "ifb", "geneve", "gre")


class Device(msgspec.Struct, frozen=True):
    """A network device; `kind` as iproute2 names it, empty for hardware."""

    name: str
    kind: str
    loopback: bool = False


def parse_links(text: str) -> tuple[Device, ...]:
    """Read the output of ``ip -json -details link``; raises ValueError when it is something else."""
    found = []
    for link in json.loads(text or "[]"):
        kind = link.get("linkinfo", {}).get("info_kind", "")
        found.append(Device(link["ifname"], kind, link.get("link_type") == "loopback"))
    return tuple(found)


def bridges_of(devices: tuple[Device, ...]) -> tuple[str, ...]:
    """Names of the bridges."""
    return tuple(sorted(device.name for device in devices if device.kind in _BRIDGE_KINDS))


def uplinks_of(devices: tuple[Device, ...]) -> tuple[str, ...]:
    """Names of the devices whose traffic is the host's own."""
    return tuple(d.name for d in devices if not d.loopback and d.kind not in _VIRTUAL_KINDS)


def devices() -> tuple[Device, ...]:
    """The devices of this network namespace; empty when iproute2 is missing.

    Asked over netlink, since /sys may show another namespace's.
    """
    try:
        done = subprocess.run(
            ["ip", "-json", "-details", "link"], capture_output=True, text=True, timeout=_SECONDS, check=True
        )
        return parse_links(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError, KeyError):
        return ()
