"""Images: what VMs boot from."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from protocol.spec.fields import Name
from protocol.spec.memory import Memory

Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
ImageRole = Literal["disk", "kernel", "initrd"]


class ImageFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One file of an image: `size` in bytes; `format` of a disk as QEMU names it."""

    role: ImageRole
    size: Annotated[int, msgspec.Meta(ge=1, le=2**44)]
    sha256: Sha256
    format: Literal["qcow2", "raw"] = "raw"

    def volume_name(self, image: str) -> str:
        """The file's name in a storage pool: the same content has the same name on every host."""
        return f"image-{image}-{self.sha256[:16]}.{self.role}"


class ImageManifest(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    """An image: a disk, a kernel with an optional initrd, or both.

    `virtual_size` is the disk's size as a guest sees it.
    """

    name: Name
    files: Annotated[tuple[ImageFile, ...], msgspec.Meta(min_length=1, max_length=3)]
    cmdline: Annotated[str, msgspec.Meta(max_length=1024, pattern=r"^[\x20-\x7e]*\Z")] = ""
    virtual_size: Memory | None = None

    def __post_init__(self) -> None:
        roles = [file.role for file in self.files]
        if len(set(roles)) != len(roles):
            raise ValueError(f"files has the roles {', '.join(roles)}; each role may stand once")
        if "initrd" in roles and "kernel" not in roles:
            raise ValueError("files has an initrd and no kernel; an initrd needs a kernel")

    def file(self, role: ImageRole) -> ImageFile | None:
        """The file of that role, or None."""
        return next((file for file in self.files if file.role == role), None)
