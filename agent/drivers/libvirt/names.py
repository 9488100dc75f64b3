"""Names of the files and addresses that belong to a domain; pure."""

from __future__ import annotations

from pathlib import Path

from protocol.spec import ImageFile, ImageManifest

CONSOLE_FOLDER = Path("/var/log/libvirt/qemu")
STORAGE_MARKER = ".hpgreedy-storage"
PARTIAL = ".part"
LOCKSPACE = ".locks"


def root_disk(uuid: str) -> str:
    """Volume name of the overlay over the image's disk."""
    return f"{uuid}-root.qcow2"


def extra_disk(uuid: str, number: int) -> str:
    """Volume name of the further disk `number`, counted from 1."""
    return f"{uuid}-disk{number}.qcow2"


def seed(uuid: str) -> str:
    """Volume name of the cloud-init seed."""
    return f"{uuid}-seed.iso"


def belongs_to(uuid: str, file_name: str) -> bool:
    """Whether a file of the pool was made for that domain."""
    return file_name.startswith(f"{uuid}-")


def console_log(uuid: str) -> Path:
    """Where the domain's serial console is logged on its host."""
    return CONSOLE_FOLDER / f"hpg-{uuid}.console.log"


def image_path(pool: Path, image: ImageManifest, file: ImageFile) -> Path:
    """Where an image's file lies in the pool."""
    return pool / file.volume_name(image.name)


def in_brackets(address: str) -> str:
    """The address as it stands in a URI: an IPv6 address in brackets."""
    return f"[{address}]" if ":" in address and not address.startswith("[") else address


def migrate_uri(transport: str, address: str) -> str:
    """The libvirt URI under which another host's libvirtd reaches this one.

    Raises ValueError for a transport other than tcp, tls and ssh.
    """
    place = in_brackets(address)
    if transport == "tcp":
        return f"qemu+tcp://{place}/system"
    if transport == "tls":
        return f"qemu+tls://{place}/system"
    if transport == "ssh":
        return f"qemu+ssh://root@{place}/system"
    raise ValueError(f"migration_transport is {transport!r}; it must be ssh, tls or tcp")


def migration_stream(address: str) -> str:
    """The URI at which the target's QEMU takes the memory stream."""
    return f"tcp://{in_brackets(address)}"
