"""A sub-folder of every cgroup hierarchy for each host, so that equal guest names do not collide.

Version 1 (one mount per controller), version 2 (one mount) and both at once are handled alike: a hierarchy is
a mount point below /sys/fs/cgroup, and a host's part of it is hpgreedy-lab/LAB/HOST. The host's own processes
live in a leaf below that (`system`), because version 2 allows processes only in leaves.
"""

import contextlib
import os
import time
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
TOP = "hpgreedy-lab"
LEAF = "system"
_WANTED = ("cpuset", "cpu", "io", "memory", "pids")


def hierarchies() -> list[Path]:
    """Return the mount points of all cgroup hierarchies of this machine."""
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, target, kind, *_ = line.split()
        if kind in ("cgroup", "cgroup2") and Path(target).is_relative_to(CGROUP_ROOT):
            found.append(Path(target))
    return found


def host_folder(lab: str, host: str) -> Path:
    """Return the host's folder relative to each hierarchy."""
    return Path(TOP) / lab / host


def make_host(lab: str, host: str) -> None:
    """Make the host's folders in all hierarchies."""
    for hierarchy in hierarchies():
        folder = hierarchy
        _offer_controllers(folder)
        for part in (*host_folder(lab, host).parts, LEAF):
            folder = folder / part
            folder.mkdir(exist_ok=True)
            _inherit_cpuset(folder)
            if part not in (host, LEAF):
                _offer_controllers(folder)


def join_host(lab: str, host: str) -> None:
    """Put the calling process at the top of the host's part: a new cgroup namespace's root."""
    for hierarchy in hierarchies():
        (hierarchy / host_folder(lab, host) / "cgroup.procs").write_text("0")


def join_leaf(lab: str, host: str) -> None:
    """Put the calling process among the host's own processes and let libvirt's guests have controllers."""
    for hierarchy in hierarchies():
        folder = hierarchy / host_folder(lab, host)
        (folder / LEAF / "cgroup.procs").write_text("0")
        _offer_controllers(folder)


def leaf_descriptors(lab: str, host: str) -> list[int]:
    """Open the host's cgroup.procs files, for a process that is about to lose sight of them."""
    paths = [hierarchy / host_folder(lab, host) / LEAF / "cgroup.procs" for hierarchy in hierarchies()]
    return [os.open(path, os.O_WRONLY | os.O_CLOEXEC) for path in paths if path.exists()]


def remove_lab(lab: str, seconds: float = 5) -> list[Path]:
    """Remove the lab's folders, and the common one with the last lab; return what could not be removed."""
    deadline = time.monotonic() + seconds
    while True:
        left = []
        for hierarchy in hierarchies():
            top = hierarchy / TOP
            _remove_tree(top / lab)
            with contextlib.suppress(OSError):
                top.rmdir()
            if (top / lab).exists():
                left.append(top / lab)
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


def _remove_tree(folder: Path) -> None:
    if not folder.is_dir():
        return
    for child in folder.iterdir():
        if child.is_dir():
            _remove_tree(child)
    # A folder stays busy for a moment after its last process died; the caller tries again.
    with contextlib.suppress(OSError):
        folder.rmdir()


def _offer_controllers(folder: Path) -> None:
    control = folder / "cgroup.subtree_control"
    if not control.exists():
        return
    available = (folder / "cgroup.controllers").read_text().split()
    enabled = control.read_text().split()
    for controller in _WANTED:
        if controller in available and controller not in enabled:
            # A controller that cannot be delegated costs a feature of libvirt, not the host.
            with contextlib.suppress(OSError):
                control.write_text(f"+{controller}")


def _inherit_cpuset(folder: Path) -> None:
    if (folder / "cgroup.controllers").exists():
        return
    for name in ("cpuset.cpus", "cpuset.mems"):
        file = folder / name
        # In version 1 a new cpuset is empty and accepts no process.
        if file.exists() and not file.read_text().strip():
            file.write_text((folder.parent / name).read_text())
