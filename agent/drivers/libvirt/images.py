"""Image files in the pool: fetched in pieces, checked, and only then under their name."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
import uuid
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from agent.drivers.libvirt import names, qcow2
from agent.drivers.libvirt.files import header_of, held_by_qemu, sync_folder
from agent.ports import ReadChunk, iter_chunks
from protocol.commands import CommandError
from protocol.messages import PoolFacts
from protocol.spec import ImageFile, ImageManifest

if TYPE_CHECKING:
    from agent.drivers.libvirt.connection import Connection
    from agent.drivers.libvirt.storage import Storage

CHUNK = 512 * 1024
_SPARE = 64 * 1024 * 1024
# Other hosts on shared storage may be writing theirs; nobody pauses this long between two pieces.
_ABANDONED_SECONDS = 3600.0


class LibvirtImages:
    """The Images port."""

    def __init__(self, link: Connection, storage: Storage) -> None:
        self._link = link
        self._storage = storage
        self._lock = threading.Lock()
        self._fetching: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def pools(self) -> tuple[PoolFacts, ...]:
        """The one pool."""
        return (self._storage.facts(),)

    def ensure(self, image: ImageManifest, read: ReadChunk) -> None:
        """Have all files of the image in the pool; raises CommandError and leaves nothing half-written."""
        fetched = False
        with self._link.use(f"fetching image {image.name}"):
            for file in image.files:
                with self._lock:
                    lock = self._fetching[file.volume_name(image.name)]
                with lock:
                    fetched |= self._ensure_file(image, file, read)
        if fetched:
            self._storage.refresh()

    def delete(self, image: ImageManifest) -> None:
        """Delete the image's files; refused while a disk, a domain or a running QEMU stands on one."""
        paths = [names.image_path(self._storage.path, image, file) for file in image.files]
        with self._link.use(f"deleting image {image.name}") as handle:
            user = _overlay_over(self._storage.path, paths)
            if user is None:
                defined = ((domain.name(), domain.XMLDesc()) for domain in handle.listAllDomains())
                user = next((n for n, xml in defined if any(str(path) in xml for path in paths)), None)
            if user is None and any(held_by_qemu(path) for path in paths):
                user = "a running QEMU, here or on a host that shares the storage,"
            if user is not None:
                raise CommandError(
                    "busy", f"image {image.name} cannot be deleted: {user} stands on it; nothing was deleted"
                )
            for path in paths:
                path.unlink(missing_ok=True)
        self._storage.refresh()

    def _ensure_file(self, image: ImageManifest, file: ImageFile, read: ReadChunk) -> bool:
        path = names.image_path(self._storage.path, image, file)
        with contextlib.suppress(FileNotFoundError):
            # It got this name only after its checksum was found right.
            if path.stat().st_size == file.size:
                return False
        _sweep(path)
        self._check_space(image, file)
        partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{names.PARTIAL}")
        try:
            _download(partial, image, file, read)
            _check_content(partial, image, file)
            partial.rename(path)
            sync_folder(path.parent)
        finally:
            partial.unlink(missing_ok=True)
        return True

    def _check_space(self, image: ImageManifest, file: ImageFile) -> None:
        available = self._storage.facts().available
        if available < file.size + _SPARE:
            raise CommandError(
                "no_space",
                f"image {image.name} needs {file.size + _SPARE} bytes in {self._storage.path} and "
                f"{available} are free; nothing was fetched",
            )


def _download(path: Path, image: ImageManifest, file: ImageFile, read: ReadChunk) -> None:
    digest = hashlib.sha256()
    with path.open("xb") as out:
        for offset, length in iter_chunks(file.size, CHUNK):
            data = read(image.name, file, offset, length)
            if len(data) != length:
                raise CommandError(
                    "failed",
                    f"the {file.role} of image {image.name} broke off at byte {offset + len(data)} of "
                    f"{file.size}; nothing was kept, try again",
                )
            digest.update(data)
            out.write(data)
        out.flush()
        os.fsync(out.fileno())
    if digest.hexdigest() != file.sha256:
        raise CommandError(
            "failed",
            f"the {file.role} of image {image.name} arrived with the checksum {digest.hexdigest()}, which "
            f"should be {file.sha256}; nothing was kept, try again",
        )


def _check_content(path: Path, image: ImageManifest, file: ImageFile) -> None:
    if file.role != "disk" or file.format != "qcow2":
        return
    try:
        qcow2.refuse_foreign_files(header_of(path))
    except ValueError as error:
        raise CommandError("refused", f"the disk of image {image.name} is refused: {error}") from error


def _overlay_over(pool: Path, bases: list[Path]) -> str | None:
    for overlay in pool.glob("*.qcow2"):
        with contextlib.suppress(ValueError, OSError):
            if header_of(overlay).backing in {str(base) for base in bases}:
                return f"disk {overlay.name}"
    return None


def _sweep(path: Path) -> None:
    for partial in path.parent.glob(f".{path.name}.*{names.PARTIAL}"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - partial.stat().st_mtime > _ABANDONED_SECONDS:
                partial.unlink()
