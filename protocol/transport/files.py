"""Files that hold secrets: readable by their owner alone, whole or not there."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

from protocol.transport.errors import TransportError


def write_private(path: Path, data: bytes, *, replace: bool = True) -> bool:
    """Write a 0600 file at once and durably, making its folder (0700) where it is missing.

    With `replace` False an existing file stays and the answer is False. Raises TransportError.
    """
    temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}"
    try:
        make_private_folder(path.parent)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            if replace:
                temporary.replace(path)
            else:
                path.hardlink_to(temporary)
        except FileExistsError:
            return False
        finally:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
        sync_folder(path.parent)
    except OSError as error:
        raise TransportError(f"{path} cannot be written: {error.strerror}; nothing was changed") from error
    return True


def make_private_folder(path: Path) -> None:
    """Make a folder and the missing ones above it, mode 0700; existing ones stay as they are."""
    missing = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)


def sync_folder(path: Path) -> None:
    """Make names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_private(path: Path) -> bytes:
    """The content of a file that nobody else may read.

    Raises FileNotFoundError, or TransportError when others may read it or it cannot be read.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise TransportError(f"{path} is not a plain file; remove it or name another")
            if mode & 0o077:
                raise TransportError(
                    f"{path} may be read by others (mode {stat.S_IMODE(mode):04o}); it holds a secret "
                    f"key and must have mode 0600: if nobody read it, type chmod 600 {path}"
                )
            return file.read(65536)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise TransportError(f"{path} cannot be read: {error.strerror}") from error
