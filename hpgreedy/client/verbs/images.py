"""Adding images: measure the files, announce the image, send what is missing."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import NamedTuple

from hpgreedy.client import tables
from hpgreedy.client.diskfile import HEADER_BYTES, Format, detect_format, virtual_bytes
from hpgreedy.client.errors import ClientError, InputError, RejectedError, UnreachableError
from hpgreedy.client.screen import Transfer
from hpgreedy.client.session import Session, make
from protocol.spec import ImageManifest, Memory, SpecError, decode_spec, encode_spec
from protocol.spec.image import ImageRole
from protocol.verbs import (
    ById,
    ImageBegin,
    ImageFinish,
    ImageUpload,
    ImageView,
    ImageWrite,
    ImageWritten,
)

PIECE = 384 * 1024
_HASH_PIECE = 1024 * 1024
_MIB = 1024 * 1024
_MOST_TROUBLES = 3


class Measured(NamedTuple):
    """A file of an image; `virtual` is a disk's size in bytes as the guest sees it."""

    role: ImageRole
    path: Path
    size: int
    sha256: str
    format: Format = "raw"
    virtual: int = 0


def add(
    session: Session,
    name: str,
    *,
    disk: Path | None,
    kernel: Path | None,
    initrd: Path | None,
    cmdline: str,
    kind: str | None,
) -> None:
    """Make an image out of files. Run again after an interruption, it goes on where it stopped."""
    _check_choice(disk, kernel, initrd, cmdline, kind)
    paths: tuple[tuple[ImageRole, Path | None], ...] = (
        ("disk", disk),
        ("kernel", kernel),
        ("initrd", initrd),
    )
    files = [_measure(session, role, path, kind) for role, path in paths if path is not None]
    manifest = build_manifest(name, files, cmdline)
    upload = session.ask("image.begin", ImageBegin(manifest=manifest), ImageUpload)
    for file in files:
        if file.sha256 in upload.missing:
            _send(session, name, file)
    found = session.ask("image.finish", ImageFinish(name=name), ImageView)
    session.show(found, tables.image_table((found,)))


def delete(session: Session, name: str, wait: bool, timeout: float | None) -> None:
    """Delete an image everywhere."""
    session.start("image.delete", make(ById, id=name), wait, timeout)


def build_manifest(name: str, files: list[Measured], cmdline: str) -> ImageManifest:
    """The manifest of the files. Raises InputError."""
    virtual = next((file.virtual for file in files if file.role == "disk"), None)
    raw: dict[str, object] = {
        "name": name,
        "cmdline": cmdline,
        "files": [
            {"role": file.role, "size": file.size, "sha256": file.sha256, "format": file.format}
            for file in files
        ],
    }
    if virtual is not None:
        raw["virtual_size"] = encode_spec(Memory(-(-virtual // _MIB)))
    try:
        return decode_spec(raw, ImageManifest)
    except SpecError as error:
        raise InputError(error.message, error.field) from error


def _check_choice(
    disk: Path | None, kernel: Path | None, initrd: Path | None, cmdline: str, kind: str | None
) -> None:
    if disk is None and kernel is None:
        raise InputError(
            "an image needs a disk or a kernel; give --disk FILE, --kernel FILE or both", "--disk"
        )
    if kernel is None and initrd is not None:
        raise InputError("--initrd is given without --kernel; an initrd needs a kernel", "--initrd")
    if kernel is None and cmdline:
        raise InputError("--cmdline is given without --kernel; only a kernel has a command line", "--cmdline")
    if kind not in (None, "qcow2", "raw"):
        raise InputError(f"--format is {kind!r}; it must be qcow2 or raw", "--format")
    if disk is None and kind is not None:
        raise InputError("--format is given without --disk; it says how the disk is written", "--format")


def _measure(session: Session, role: ImageRole, path: Path, kind: str | None) -> Measured:
    try:
        size = path.stat().st_size
        with path.open("rb") as source:
            header = source.read(HEADER_BYTES)
            source.seek(0)
            digest = hashlib.sha256()
            with session.screen.transfer(f"reading {path.name}", size) as transfer:
                while piece := source.read(_HASH_PIECE):
                    digest.update(piece)
                    transfer.at(source.tell())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", f"--{role}") from error
    if size == 0:
        raise InputError(f"{path} is empty; a {role} must hold something", f"--{role}")
    if role != "disk":
        return Measured(role, path, size, digest.hexdigest())
    form: Format = "qcow2" if kind == "qcow2" else "raw" if kind == "raw" else detect_format(header)
    try:
        virtual = virtual_bytes(header, size, form)
    except ValueError as error:
        raise InputError(f"{path} {error}", "--disk") from error
    return Measured(role, path, size, digest.hexdigest(), form, virtual)


def _send(session: Session, name: str, file: Measured) -> None:
    """Send a file piece by piece; what the coordinator has already is answered to the first piece."""
    try:
        with session.screen.transfer(f"sending {file.path.name}", file.size) as transfer:
            _send_pieces(session, name, file, transfer)
    except OSError as error:
        raise InputError(
            f"{file.path} cannot be read any more: {error.strerror}", f"--{file.role}"
        ) from error
    except UnreachableError as error:
        raise UnreachableError(
            f"{error.message}; run the same command again and it goes on where it stopped"
        ) from error


def _send_pieces(session: Session, name: str, file: Measured, transfer: Transfer) -> None:
    """An empty piece asks how much is there; each answer says where to go on."""
    troubles = 0
    with file.path.open("rb") as source:
        offset = _write(session, name, file, 0, b"")
        while offset < file.size:
            transfer.at(offset)
            source.seek(offset)
            piece = source.read(min(PIECE, file.size - offset))
            if not piece:
                raise InputError(
                    f"{file.path} became shorter while it was sent; add it again", f"--{file.role}"
                )
            try:
                has = _write(session, name, file, offset, piece)
            except RejectedError:
                # A coordinator that stopped amid a piece has part of it.
                has = _write(session, name, file, 0, b"")
                troubles += 1
                if has == offset or troubles >= _MOST_TROUBLES:
                    raise
            troubles += has <= offset
            if troubles >= _MOST_TROUBLES:
                raise ClientError(
                    "failed",
                    f"the coordinator has {has} of {file.size} bytes of {file.path} and takes no more",
                )
            offset = has
        transfer.at(file.size)


def _write(session: Session, name: str, file: Measured, offset: int, piece: bytes) -> int:
    data = base64.b64encode(piece).decode("ascii")
    write = ImageWrite(name=name, sha256=file.sha256, offset=offset, data=data)
    return session.ask("image.write", write, ImageWritten).size
