"""The root namespace's side of a lab's network: the slot, the bridge and the hosts' cables."""

import ipaddress
import json
from pathlib import Path
from typing import Any

from lab.commands import run
from lab.errors import LabError
from lab.names import SLOTS, Slot

_BRIDGE_OPTIONS = "stp_state 0 forward_delay 0 mcast_snooping 0"


def networks_in_use() -> list[str]:
    """Return every IPv4 network that this machine has an address in or a route to, the default excepted."""
    used: list[str] = []
    for route in _ip_json("-4", "route", "show", "table", "all"):
        if route.get("dst", "default") != "default":
            used.append(route["dst"])
    for link in _ip_json("-4", "addr", "show"):
        used += [f"{item['local']}/{item['prefixlen']}" for item in link.get("addr_info", [])]
    return used


def choose_slot(networks: list[str], taken: set[int]) -> Slot:
    """Return the first slot that no lab has and whose subnet the machine does not know."""
    known = [ipaddress.ip_network(network, strict=False) for network in networks]
    for number in range(SLOTS):
        slot = Slot(number)
        subnet = ipaddress.ip_network(slot.subnet)
        if number not in taken and not any(subnet.overlaps(network) for network in known):
            return slot
    raise LabError(
        f"no free subnet among 10.64.0.0/16 to 10.{63 + SLOTS}.0.0/16: {len(taken)} are used by labs, "
        "the others are known to this machine already (see `ip route`); nothing was changed; "
        "end a lab with `python -m lab down --name NAME` or remove such a route"
    )


def make_bridge(slot: Slot) -> None:
    """Make the lab's bridge with the machine's own address on it."""
    _batch(
        f"link add {slot.bridge} address {slot.mac('bridge')} type bridge {_BRIDGE_OPTIONS}",
        f"addr add {slot.gateway}/16 dev {slot.bridge}",
        f"link set {slot.bridge} up",
    )


def plug(slot: Slot, host: str, pid: int) -> None:
    """Make the cable between the bridge and the network namespace of a process, where it is called eth0."""
    veth = slot.veth(host)
    _batch(
        f"link add {veth} type veth peer name eth0 address {slot.mac('cable', host)} netns {pid}",
        f"link set {veth} master {slot.bridge} up",
    )


def host_side(slot: Slot, host: str) -> str:
    """Return the `ip -batch` text for the inside of a host."""
    return "\n".join(
        [
            "link set lo up",
            f"link add br0 address {slot.mac('bridge', host)} type bridge {_BRIDGE_OPTIONS}",
            "link set eth0 master br0 up",
            f"addr add {slot.address(host)}/16 dev br0",
            "link set br0 up",
            f"route add default via {slot.gateway}",
            "",
        ]
    )


def remove(slot: Slot, hosts: list[str]) -> list[str]:
    """Remove the lab's interfaces; return those that are still there."""
    ours = [slot.veth(host) for host in hosts] + [slot.bridge]
    for name in ours:
        if _exists(name):
            try:
                run(["ip", "link", "del", name])
            except LabError:
                # A veth goes by itself while its namespace is taken down; only what stays is a failure.
                continue
    return [name for name in ours if _exists(name)]


def set_link(slot: Slot, host: str, *, up: bool) -> None:
    """Plug the host's cable in or pull it."""
    run(["ip", "link", "set", slot.veth(host), "up" if up else "down"])


def limit_command(device: str, mbit: float | None) -> list[str]:
    """Return the tc command that limits what leaves through a device, or lifts the limit."""
    if mbit is None:
        return ["tc", "qdisc", "del", "dev", device, "root"]
    burst = max(64 * 1024, int(mbit * 1e6 / 8 / 100))
    rate = f"{int(mbit * 1000)}kbit"
    return ["tc", "qdisc", "replace", "dev", device, "root", "tbf", "rate", rate, "burst", str(burst),
            "latency", "100ms"]  # fmt: skip


def _exists(name: str) -> bool:
    return Path("/sys/class/net", name).exists()


def _ip_json(*arguments: str) -> list[dict[str, Any]]:
    output = run(["ip", "-json", *arguments]).strip()
    parsed: list[dict[str, Any]] = json.loads(output) if output else []
    return parsed


def _batch(*lines: str) -> None:
    run(["ip", "-batch", "-"], text="\n".join(lines) + "\n")
