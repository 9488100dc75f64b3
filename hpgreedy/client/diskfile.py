"""What the first bytes of a disk file say, without running any tool on it."""

from __future__ import annotations

import struct
from typing import Literal

Format = Literal["qcow2", "raw"]
HEADER_BYTES = 104
_MAGIC = b"QFI\xfb"
_EXTERNAL_DATA = 1 << 2


def detect_format(header: bytes) -> Format:
    """qcow2 when the magic number stands at the beginning, else raw."""
    return "qcow2" if header.startswith(_MAGIC) else "raw"


def virtual_bytes(header: bytes, file_size: int, kind: Format) -> int:
    """The size of the disk as a guest sees it, in bytes.

    Raises ValueError with the end of a sentence for a qcow2 file that cannot stand on its own.
    """
    if kind == "raw":
        return file_size
    if not header.startswith(_MAGIC):
        raise ValueError("does not begin like a qcow2 file; if it is raw, say --format raw")
    if len(header) < 72:
        raise ValueError("is cut short: it has no whole qcow2 header")
    version, backing = struct.unpack_from(">IQ", header, 4)
    (size,) = struct.unpack_from(">Q", header, 24)
    if version not in (2, 3):
        raise ValueError(f"is qcow2 of version {version}; versions 2 and 3 are known")
    if backing:
        raise ValueError("stands on a backing file; make it whole with qemu-img convert -O qcow2")
    if version == 3:
        if len(header) < HEADER_BYTES:
            raise ValueError("is cut short: it has no whole qcow2 header")
        (incompatible,) = struct.unpack_from(">Q", header, 72)
        if incompatible & _EXTERNAL_DATA:
            raise ValueError("keeps its data in another file; make it whole with qemu-img convert -O qcow2")
    if size == 0:
        raise ValueError("is a disk of 0 bytes")
    return int(size)
