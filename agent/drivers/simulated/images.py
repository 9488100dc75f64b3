"""Images and disks of a simulated host: small files in a pool folder, images checked like real ones."""

from __future__ import annotations

import hashlib
import secrets
import shutil
from pathlib import Path

from agent.ports import ReadChunk, iter_chunks
from protocol.commands import CommandError, VmPlan
from protocol.messages import PoolFacts
from protocol.spec import ImageFile, ImageManifest

CHUNK = 256 * 1024


def disk_names(plan: VmPlan) -> tuple[str, ...]:
    """Volume names that belong to a VM: root disk, further disks, seed."""
    names = []
    if plan.image is not None and plan.image.file("disk") is not None:
        names.append(f"{plan.uuid}-root.qcow2")
    names += [f"{plan.uuid}-disk{n}.qcow2" for n in range(1, len(plan.spec.disks) + 1)]
    if plan.spec.cloud_init is not None:
        names.append(f"{plan.uuid}-seed.iso")
    return tuple(names)


class SimImages:
    """The `Images` port over a folder."""

    def __init__(self, name: str, folder: Path, storage_id: str) -> None:
        self.name = name
        self.folder = folder
        self.storage_id = storage_id

    def make(self) -> None:
        """Make the pool."""
        self.folder.mkdir(parents=True, exist_ok=True)

    def pools(self) -> tuple[PoolFacts, ...]:
        """The one pool."""
        usage = shutil.disk_usage(self.folder)
        return (
            PoolFacts(
                name=self.name,
                path=str(self.folder),
                storage_id=self.storage_id,
                capacity=usage.total,
                available=usage.free,
            ),
        )

    def ensure(self, image: ImageManifest, read: ReadChunk) -> None:
        """Fetch what is missing and check it."""
        for file in image.files:
            path = self.folder / file.volume_name(image.name)
            if not (path.is_file() and path.stat().st_size == file.size):
                self._fetch(image.name, file, path, read)

    def delete(self, image: ImageManifest) -> None:
        """Delete the image's files."""
        for file in image.files:
            (self.folder / file.volume_name(image.name)).unlink(missing_ok=True)

    def missing(self, image: ImageManifest | None) -> list[str]:
        """Files of an image that are not in the pool."""
        if image is None:
            return []
        names = [file.volume_name(image.name) for file in image.files]
        return [name for name in names if not (self.folder / name).is_file()]

    def make_disks(self, names: tuple[str, ...], content: str) -> None:
        """Make the files that are not there yet."""
        for name in names:
            path = self.folder / name
            if not path.exists():
                path.write_text(content)

    def has(self, names: tuple[str, ...]) -> bool:
        """Whether all these files are there."""
        return all((self.folder / name).exists() for name in names)

    def delete_disks(self, uuid: str) -> tuple[str, ...]:
        """Delete the files that a domain's uuid names."""
        files = sorted(self.folder.glob(f"{uuid}-*"))
        for file in files:
            file.unlink(missing_ok=True)
        return tuple(str(file) for file in files)

    def _fetch(self, image: str, file: ImageFile, path: Path, read: ReadChunk) -> None:
        part = path.parent / f"{path.name}.{secrets.token_hex(4)}.part"
        digest = hashlib.sha256()
        try:
            with part.open("wb") as out:
                for offset, length in iter_chunks(file.size, CHUNK):
                    data = read(image, file, offset, length)
                    if len(data) != length:
                        raise CommandError(
                            "failed",
                            f"image {image}: its {file.role} ended after {offset + len(data)} of {file.size} "
                            "bytes; nothing was kept",
                        )
                    digest.update(data)
                    out.write(data)
            if digest.hexdigest() != file.sha256:
                raise CommandError(
                    "failed",
                    f"image {image}: its {file.role} arrived with the wrong checksum; nothing was kept, "
                    "upload the image again",
                )
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
