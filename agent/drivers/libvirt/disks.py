"""The files of one domain: overlay, further disks, seed."""

from __future__ import annotations

import contextlib
import uuid as uuids
from pathlib import Path
from typing import TYPE_CHECKING

from agent.drivers.libvirt import locks, names
from agent.drivers.libvirt.domain_xml import root_wanted, seed_wanted
from agent.drivers.libvirt.files import header_of, held_by_qemu, held_by_virtlockd, write_durably
from agent.drivers.libvirt.seed import seed_files, seed_iso
from agent.drivers.libvirt.storage_xml import volume_xml
from protocol.commands import CommandError, VmPlan

if TYPE_CHECKING:
    from agent.drivers.libvirt.connection import Connection
    from agent.drivers.libvirt.storage import Storage

_MIB = 1024 * 1024


class Disks:
    """Makes, checks and deletes the files that a domain's uuid names."""

    def __init__(self, link: Connection, storage: Storage) -> None:
        self._link = link
        self._storage = storage

    def make(self, plan: VmPlan) -> None:
        """Make what is missing; what is there and complete is kept with its content."""
        with self._link.use(f"making the disks of VM {plan.spec.key}"):
            self._check_boot_files(plan)
            for name, (capacity, base) in self._wanted(plan).items():
                if (self._storage.path / name).exists():
                    _check_base(self._storage.path / name, base, plan)
                else:
                    self._create(name, capacity, base, plan)
            self._write_seed(plan)
        self._storage.refresh()

    def make_empty(self, plan: VmPlan) -> None:
        """Make the same files empty and anew, to receive the copy of a migration."""
        with self._link.use(f"making room for the disks of VM {plan.spec.key}"):
            self._check_boot_files(plan)
            wanted = self._wanted(plan)
            self._refuse_held([self._storage.path / name for name in wanted], plan.spec.key)
            for name, (capacity, base) in wanted.items():
                # A copy writes only what the source's overlay holds: remains would shine through.
                (self._storage.path / name).unlink(missing_ok=True)
                self._create(name, capacity, base, plan)
            self._write_seed(plan)
        self._storage.refresh()

    def check_present(self, plan: VmPlan) -> None:
        """Raise CommandError unless all files of the plan are here, as they are on shared storage."""
        with self._link.use(f"looking for the disks of VM {plan.spec.key}"):
            self._check_boot_files(plan)
            files = [*self._wanted(plan), *([names.seed(plan.uuid)] if seed_wanted(plan) else [])]
            missing = [name for name in files if not (self._storage.path / name).exists()]
        if missing:
            raise CommandError(
                "refused",
                f"VM {plan.spec.key} cannot come here without copying: {', '.join(missing)} is not in "
                f"{self._storage.path}, so the storage is not shared with its host; nothing was changed",
            )

    def delete(self, uuid: str) -> tuple[str, ...]:
        """Delete all files of the pool that the uuid names; returns their paths.

        Refused while a QEMU anywhere holds one: on shared storage the VM may run on another host.
        """
        with self._link.use(f"deleting the disks of {uuid}"):
            found = sorted(path for path in self._storage.path.iterdir() if names.belongs_to(uuid, path.name))
            self._refuse_held(found, uuid)
            found += _leases(self._storage.path, uuid)
            for path in found:
                path.unlink(missing_ok=True)
            deleted = [str(path) for path in found]
            with contextlib.suppress(FileNotFoundError):
                names.console_log(uuid).unlink()
                deleted.append(str(names.console_log(uuid)))
        if found:
            self._storage.refresh()
        return tuple(deleted)

    def _wanted(self, plan: VmPlan) -> dict[str, tuple[int, Path | None]]:
        """Volume name → (bytes, base) of each disk that the guest writes to."""
        wanted: dict[str, tuple[int, Path | None]] = {}
        if root_wanted(plan):
            wanted[names.root_disk(plan.uuid)] = self._root(plan)
        for number, disk in enumerate(plan.spec.disks, 1):
            wanted[names.extra_disk(plan.uuid, number)] = (disk.size.mib * _MIB, None)
        return wanted

    def _root(self, plan: VmPlan) -> tuple[int, Path]:
        assert plan.image is not None
        file = plan.image.file("disk")
        assert file is not None
        base = names.image_path(self._storage.path, plan.image, file)
        if not base.exists():
            raise CommandError(
                "not_found", f"image {plan.image.name} is not in {self._storage.path}; fetch it first"
            )
        size = header_of(base).virtual_size if file.format == "qcow2" else base.stat().st_size
        asked = plan.image.virtual_size.mib * _MIB if plan.image.virtual_size is not None else 0
        return max(size, asked), base

    def _check_boot_files(self, plan: VmPlan) -> None:
        image = plan.kernel_image
        for file in image.files if image is not None else ():
            path = names.image_path(self._storage.path, image, file) if image is not None else None
            if path is not None and file.role != "disk" and not path.exists():
                raise CommandError(
                    "not_found",
                    f"the {file.role} that VM {plan.spec.key} boots is not at {path}; fetch its image first",
                )

    def _create(self, name: str, capacity: int, base: Path | None, plan: VmPlan) -> None:
        file = plan.image.file("disk") if plan.image is not None else None
        kind = file.format if file is not None else "raw"
        self._storage.create_volume(name, lambda partial: volume_xml(partial, capacity, base, kind))

    def _write_seed(self, plan: VmPlan) -> None:
        if plan.spec.cloud_init is None:
            return
        path = self._storage.path / names.seed(plan.uuid)
        self._storage.sweep(path.name)
        partial = path.with_name(f"{path.name}.{uuids.uuid4().hex[:8]}{names.PARTIAL}")
        files = seed_files(plan.uuid, plan.spec.key, plan.spec.cloud_init)
        # It may hold passwords: nobody but root and the guest's QEMU, to which libvirt gives it.
        write_durably(partial, seed_iso(files), 0o600)
        partial.rename(path)

    def _refuse_held(self, paths: list[Path], who: str) -> None:
        held = [path.name for path in paths if path.is_file() and held_by_qemu(path)]
        if held:
            raise CommandError(
                "busy",
                f"{', '.join(held)} of VM {who} is open in a running QEMU, on this host or another that "
                "shares the storage; nothing was deleted",
            )


def _leases(pool: Path, uuid: str) -> list[Path]:
    lockspace = locks.look(pool).lockspace
    lease = None if lockspace is None else lockspace / uuid
    if lease is None or not lease.is_file():
        return []
    if held_by_virtlockd(lease):
        raise CommandError(
            "busy",
            f"the lease of VM {uuid} is held by a running VM, on this host or another that shares the "
            "storage; nothing was deleted",
        )
    return [lease]


def _check_base(path: Path, base: Path | None, plan: VmPlan) -> None:
    found = header_of(path).backing
    if found != (None if base is None else str(base)):
        raise CommandError(
            "exists",
            f"{path} is there already over {found or 'nothing'} and VM {plan.spec.key} needs it over "
            f"{base or 'nothing'}; it was left alone, remove the VM with its disks first",
        )
