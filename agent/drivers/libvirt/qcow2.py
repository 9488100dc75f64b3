"""What a qcow2 header says. Images are untrusted: one that names another file would let a VM read it."""

from __future__ import annotations

import struct

import msgspec

MAGIC = b"QFI\xfb"
HEADER_SIZE = 65536
_FIXED = struct.Struct(">4sIQIIQI")
_EXTERNAL_DATA = 1 << 2
_EXT_BACKING_FORMAT = 0xE2792ACA
_EXT_DATA_FILE = 0x44415441


class Qcow2Header(msgspec.Struct, frozen=True, kw_only=True):
    """`virtual_size` in bytes; `backing` and `data_file` are the other files the header names."""

    virtual_size: int
    backing: str | None = None
    backing_format: str | None = None
    external_data: bool = False
    encrypted: bool = False


def read_header(head: bytes) -> Qcow2Header:
    """Read the first bytes of a file (HEADER_SIZE are enough); raises ValueError if it is no qcow2."""
    if len(head) < _FIXED.size or head[:4] != MAGIC:
        raise ValueError("it does not begin with the qcow2 magic bytes")
    _, version, backing_at, backing_length, _, size, crypt = _FIXED.unpack_from(head)
    if version not in (2, 3):
        raise ValueError(f"its qcow2 version is {version}; 2 and 3 are known")
    incompatible, header_length = 0, 72
    if version == 3:
        if len(head) < 104:
            raise ValueError("its qcow2 header is cut off")
        (incompatible,) = struct.unpack_from(">Q", head, 72)
        (header_length,) = struct.unpack_from(">I", head, 100)
    extensions = _extensions(head, header_length)
    backing_format = extensions.get(_EXT_BACKING_FORMAT)
    return Qcow2Header(
        virtual_size=size,
        backing=_text(head[backing_at : backing_at + min(backing_length, 1023)]) if backing_at else None,
        backing_format=None if backing_format is None else _text(backing_format),
        external_data=bool(incompatible & _EXTERNAL_DATA) or _EXT_DATA_FILE in extensions,
        encrypted=crypt != 0,
    )


def refuse_foreign_files(header: Qcow2Header) -> None:
    """Raise ValueError when an image is not complete in itself."""
    if header.backing is not None:
        raise ValueError(f"it names the backing file {header.backing!r}; flatten it with qemu-img convert")
    if header.external_data:
        raise ValueError("it keeps its data in an external file; flatten it with qemu-img convert")
    if header.encrypted:
        raise ValueError("it is encrypted; encrypted images cannot be used")


def _extensions(head: bytes, at: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while at + 8 <= len(head):
        kind, length = struct.unpack_from(">II", head, at)
        if kind == 0:
            break
        found[kind] = head[at + 8 : at + 8 + length]
        at += 8 + (length + 7) // 8 * 8
    return found


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", errors="replace")
