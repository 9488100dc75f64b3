"""Everything that follows from a lab's slot by rule: names, addresses and MACs. Pure."""

import re
import uuid
from dataclasses import dataclass

from lab.errors import UsageError

SLOTS = 64
MAX_HOSTS = 32
_LAB_NAME = re.compile(r"[a-z][a-z0-9-]{0,15}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_NAMESPACE = uuid.UUID("5f0d5a4e-8a3c-4c0e-9a51-6b3f0e2f7c11")


def check_lab_name(name: str) -> str:
    """Return the name when it is usable for a lab."""
    if not _LAB_NAME.fullmatch(name):
        raise UsageError(
            f"name: {name!r} is not usable; "
            "a lab's name is 1 to 16 small letters, digits or '-', beginning with a letter"
        )
    return name


def check_host_count(hosts: int) -> int:
    """Return the number of hosts when a lab can have that many."""
    if not 1 <= hosts <= MAX_HOSTS:
        raise UsageError(f"hosts: {hosts} is not possible; a lab has 1 to {MAX_HOSTS} hosts")
    return hosts


def check_storage(storage: str) -> str:
    """Return the kind of storage when there is such a kind."""
    if storage not in ("shared", "local"):
        raise UsageError(f"storage: {storage!r} is unknown; it is 'shared' or 'local'")
    return storage


def host_names(hosts: int) -> list[str]:
    """Return h1 to hN."""
    return [f"h{index}" for index in range(1, hosts + 1)]


def host_uuid(lab: str, host: str) -> str:
    """Return the libvirt host UUID: the same after every `up` of a lab of that name."""
    return str(uuid.uuid5(_NAMESPACE, f"{lab}/{host}"))


def guest_ip(mac: str, net: str) -> str:
    """Return the address that the test guest gives itself; net is the lab's first two octets ("10.64")."""
    if not _MAC.fullmatch(mac.lower()):
        raise UsageError(f"mac: {mac!r} is not a MAC address; it looks like 52:54:00:00:00:01")
    octets = [int(part, 16) for part in mac.split(":")]
    return f"{net}.{0x80 | octets[4]}.{octets[5]}"


@dataclass(frozen=True)
class Slot:
    """One of the machine's places for a lab: a subnet and interface names that belong to no other lab."""

    number: int

    @property
    def net(self) -> str:
        """The first two octets of the subnet, which is also the guest's hpg.net."""
        return f"10.{64 + self.number}"

    @property
    def subnet(self) -> str:
        """The subnet in CIDR form."""
        return f"{self.net}.0.0/16"

    @property
    def gateway(self) -> str:
        """The address of the machine itself in the lab's network."""
        return f"{self.net}.0.1"

    @property
    def bridge(self) -> str:
        """The bridge in the root namespace."""
        return f"hpglab{self.number}br"

    def address(self, host: str) -> str:
        """The address of a host."""
        return f"{self.net}.0.{10 + int(host[1:])}"

    def mac(self, port: str, host: str = "h0") -> str:
        """The MAC of a `bridge` or `cable`. A bridge without one of its own takes its lowest port's, and a
        guest's tap that comes or goes would then change a host's MAC in the middle of a migration."""
        return f"02:48:47:{self.number:02x}:{('bridge', 'cable').index(port):02x}:{int(host[1:]):02x}"

    def veth(self, host: str) -> str:
        """The root namespace's end of a host's cable."""
        return f"hpglab{self.number}{host}"
