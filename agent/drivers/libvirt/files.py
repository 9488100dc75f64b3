"""Files of the pool: durable writes, locks, the folder's identity. Works without libvirt."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import uuid
from pathlib import Path

from agent.drivers.libvirt import names, qcow2

# struct flock of 64-bit Linux; QEMU locks single bytes from 100 on, on an open file description.
_FLOCK = struct.Struct("hhqqi4x")
_QEMU_LOCKS_FROM, _QEMU_LOCKS = 100, 200


def storage_id(folder: Path) -> str:
    """The identity in the folder's marker file, which is written if missing; hosts that see one folder agree.

    The first complete file wins: a link either makes the name or fails, on network file systems too.
    """
    marker = folder / names.STORAGE_MARKER
    with contextlib.suppress(FileNotFoundError):
        return _read_marker(marker)
    fresh = folder / f"{names.STORAGE_MARKER}.{uuid.uuid4().hex}"
    write_durably(fresh, f"{uuid.uuid4()}\n".encode())
    try:
        os.link(fresh, marker)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
    return _read_marker(marker)


def write_durably(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a new file and its name to disk."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the folder's names on disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def takes_direct_io(folder: Path) -> bool:
    """Whether files in the folder can be opened with O_DIRECT; raises OSError when none can be made."""
    probe = folder / f".hpgreedy-probe.{uuid.uuid4().hex}"
    try:
        os.close(os.open(probe, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_DIRECT, 0o600))
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
        return False
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
    return True


def held_by_qemu(path: Path) -> bool:
    """Whether a QEMU has the file open, here or on a host that locks through the same file system."""
    return _locked(path, _QEMU_LOCKS_FROM, _QEMU_LOCKS)


def held_by_virtlockd(path: Path) -> bool:
    """Whether a running VM holds this lease, here or on a host that locks through the same file system."""
    return _locked(path, 0, 1)


def _locked(path: Path, start: int, length: int) -> bool:
    try:
        fd = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        ask = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
        answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, ask)
    except OSError:
        # A file system without locks cannot say.
        return False
    finally:
        os.close(fd)
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)


def header_of(path: Path) -> qcow2.Qcow2Header:
    """The qcow2 header of a file; raises ValueError if it has none."""
    with path.open("rb") as file:
        return qcow2.read_header(file.read(qcow2.HEADER_SIZE))


def _read_marker(marker: Path) -> str:
    text = marker.read_text(encoding="ascii", errors="replace")[:64].strip()
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        raise ValueError(
            f"{marker} holds {text!r}, which is no uuid; delete the file on one host to have it made anew"
        ) from error
