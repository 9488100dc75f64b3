"""On what kind of file system a path lies; pure."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

MOUNTS = Path("/proc/self/mountinfo")
_NETWORKED = ("nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "ocfs2", "gfs2", "lustre", "beegfs", "gpfs",
              "afs", "9p", "virtiofs")  # fmt: skip
_ESCAPE = re.compile(r"\\([0-7]{3})")


def file_system(path: Path, mountinfo: str) -> str:
    """The type of the file system that `path` lies on, by the text of /proc/self/mountinfo; "" = unknown."""
    best, kind = -1, ""
    for line in mountinfo.splitlines():
        left, dash, right = line.partition(" - ")
        fields = left.split(" ")
        if not dash or len(fields) < 5:
            continue
        mounted = PurePosixPath(_ESCAPE.sub(lambda match: chr(int(match[1], 8)), fields[4]))
        # A later mount at the same place hides the earlier one.
        if PurePosixPath(path).is_relative_to(mounted) and len(mounted.parts) >= best:
            best, kind = len(mounted.parts), right.split(" ")[0]
    return kind


def is_local(kind: str) -> bool:
    """Whether a file system of that type is a disk of this machine; False where that is unknown."""
    return kind != "" and kind not in _NETWORKED and not kind.startswith("fuse")
