"""Write an initramfs archive (cpio, the "newc" format) without the cpio tool. Pure."""

import stat
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One file, folder or device of the archive."""

    path: str
    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)


def folder(path: str) -> Entry:
    """Return a folder."""
    return Entry(path, stat.S_IFDIR | 0o755)


def file(path: str, content: bytes, *, executable: bool = False) -> Entry:
    """Return a file."""
    return Entry(path, stat.S_IFREG | (0o755 if executable else 0o644), content)


def console() -> Entry:
    """Return the device node without which the kernel gives its first process no output."""
    return Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))


def archive(entries: list[Entry]) -> bytes:
    """Return the archive; equal entries make equal bytes."""
    output = bytearray()
    for number, entry in enumerate([*entries, Entry("TRAILER!!!", 0)], start=1):
        name = entry.path.encode() + b"\0"
        links = 2 if stat.S_ISDIR(entry.mode) else 1
        fields = (number, entry.mode, 0, 0, links, 0, len(entry.content), 0, 0, *entry.device, len(name), 0)
        output += b"070701" + b"".join(b"%08X" % field for field in fields) + name
        output += bytes(-len(output) % 4)
        output += entry.content
        output += bytes(-len(output) % 4)
    return bytes(output)
