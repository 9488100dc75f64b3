"""What keeps a VM from running twice: libvirt's lock manager, and leases for VMs without a disk of their own.

virtlockd locks a file in one folder for each disk that a guest writes to, and for each lease. Where hosts
share that folder, libvirt itself refuses a second start.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

from agent.drivers.libvirt.conf import setting
from agent.drivers.libvirt.files import sync_folder

CONFIG = Path("/etc/libvirt")
SOCKET = Path("/run/libvirt/virtlockd-sock")
SET_UP = "`run_server.py setup` sets it up"


class Locking(msgspec.Struct, frozen=True, kw_only=True):
    """How this host's libvirt locks; `problem` is empty when disks and leases are locked.

    `lockspace` is the folder that holds the locks, None = there are no leases.
    """

    lockspace: Path | None = None
    problem: str = ""


def locking(qemu_conf: str, lockd_conf: str, pool: Path, serving: bool) -> Locking:
    """What libvirt's files say; `serving` = virtlockd is there; pure."""
    manager = setting(qemu_conf, "lock_manager") or "nop"
    if manager != "lockd":
        return Locking(
            problem=f"qemu.conf has lock_manager {manager!r} where 'lockd' is needed, so libvirt would start "
            f"a VM twice; {SET_UP}"
        )
    if not serving:
        return Locking(problem=f"virtlockd does not run, without which no VM can be started; {SET_UP}")
    folder = setting(lockd_conf, "file_lockspace_dir")
    if not folder:
        return Locking(
            problem="qemu-lockd.conf names no file_lockspace_dir, so VMs without a disk have no lock; "
            f"{SET_UP}"
        )
    if Path(folder).parent != pool:
        return Locking(
            lockspace=Path(folder),
            problem=f"locks are kept in {folder}, which is not in the pool {pool}: hosts that share the pool "
            f"but not that folder would start a VM twice; {SET_UP}",
        )
    return Locking(lockspace=Path(folder))


def look(pool: Path) -> Locking:
    """The same for this host."""
    return locking(_text("qemu.conf"), _text("qemu-lockd.conf"), pool, SOCKET.exists())


def make_lease(lockspace: Path, uuid: str) -> None:
    """Have the file that a lease locks; virtlockd makes those of disks only."""
    with contextlib.suppress(FileExistsError):
        lockspace.mkdir(mode=0o700)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(lockspace / uuid, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        sync_folder(lockspace)


def _text(name: str) -> str:
    with contextlib.suppress(OSError):
        return (CONFIG / name).read_text("utf-8", "replace")
    return ""
