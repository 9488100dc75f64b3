"""The image files the coordinator keeps and hands to hosts: named by their sha256, complete or absent."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import defaultdict
from pathlib import Path

import structlog

from protocol.spec import ImageFile, ImageManifest

_LOG = structlog.get_logger("images")
PIECE = 1024 * 1024


class ImageFileError(Exception):
    """A piece or file is not as announced; `str()` is one sentence."""


class ImageFiles:
    """A folder with one file for each sha256; unfinished ones end in ``.part``. Methods block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def missing(self, manifest: ImageManifest) -> tuple[str, ...]:
        """The files of the image that are not here."""
        return tuple(file.sha256 for file in manifest.files if not self._path(file.sha256).exists())

    def have(self, sha256: str) -> int:
        """Bytes here of a file, complete or not."""
        for path in (self._path(sha256), self._part(sha256)):
            if path.exists():
                return path.stat().st_size
        return 0

    def write(self, file: ImageFile, offset: int, data: bytes) -> int:
        """Append a piece and return the bytes now here; a piece that is here already changes nothing.

        Raises ImageFileError for a gap, for more than was announced, or for a wrong checksum at the end.
        """
        # A piece that is sent again while the file is being checked waits for the outcome.
        with self._locks[file.sha256]:
            return self._write(file, offset, data)

    def _write(self, file: ImageFile, offset: int, data: bytes) -> int:
        if self._path(file.sha256).exists():
            return file.size
        part = self._part(file.sha256)
        size = part.stat().st_size if part.exists() else 0
        if offset + len(data) <= size:
            return size
        if offset != size:
            raise ImageFileError(f"offset is {offset}; the next piece of this file must begin at {size}")
        if size + len(data) > file.size:
            raise ImageFileError(f"the file has {size + len(data)} bytes; {file.size} were announced")
        with part.open("ab") as stream:
            stream.write(data)
        if size + len(data) == file.size:
            self._complete(file, part)
        return size + len(data)

    def read(self, sha256: str, offset: int, length: int) -> bytes:
        """A piece of a complete file. Raises FileNotFoundError."""
        with self._path(sha256).open("rb") as stream:
            stream.seek(offset)
            return stream.read(min(length, PIECE))

    def sweep(self, wanted: frozenset[str]) -> None:
        """Delete every file whose sha256 is not `wanted`."""
        for path in self._folder.iterdir():
            if path.name.removesuffix(".part") in wanted or not path.is_file():
                continue
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                _LOG.warning("an image file that nothing needs stays", file=str(path), problem=str(error))

    def _complete(self, file: ImageFile, part: Path) -> None:
        with part.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
            os.fsync(stream.fileno())
        if found != file.sha256:
            part.unlink()
            raise ImageFileError(
                f"the {file.role} has the sha256 {found}; {file.sha256} was announced: send it again"
            )
        part.rename(self._path(file.sha256))
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _path(self, sha256: str) -> Path:
        return self._folder / sha256

    def _part(self, sha256: str) -> Path:
        return self._folder / f"{sha256}.part"
