"""The pool that VMs live in: made through libvirt, its files handled in place (the agent is on the host)."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import libvirt

from agent.drivers.libvirt import names
from agent.drivers.libvirt.connection import Connection
from agent.drivers.libvirt.files import storage_id, takes_direct_io
from agent.drivers.libvirt.lookup import pool_by_name
from agent.drivers.libvirt.storage_xml import pool_path, pool_xml
from protocol.commands import CommandError
from protocol.messages import PoolFacts

_REFRESH_TRIES = 5


class Storage:
    """One directory pool. `path` is where it is mounted on this host, and on all hosts alike."""

    def __init__(self, link: Connection, pool: str, path: Path) -> None:
        self.pool = pool
        self.path = path
        self._link = link
        self._refreshing = threading.Lock()
        self._direct_io: bool | None = None

    def ensure(self) -> PoolFacts:
        """Define, build and start the pool where that is missing; returns its facts."""
        with self._link.use(f"making storage pool {self.pool}") as handle:
            pool = pool_by_name(handle, self.pool)
            if pool is None:
                pool = self._define(handle)
            kind, path = pool_path(pool.XMLDesc())
            if kind != "dir" or Path(path) != self.path:
                raise CommandError(
                    "refused",
                    f"libvirt has a storage pool named {self.pool} already, of type {kind} at "
                    f"{path or 'no path'}; it must be of type dir at {self.path}: give the agent another "
                    "pool name or path",
                )
            if not self.path.is_dir():
                pool.build(libvirt.VIR_STORAGE_POOL_BUILD_NEW)
            if not pool.isActive():
                _tolerate(pool.create, pool.isActive)
            pool.setAutostart(1)
        return self.facts()

    def facts(self) -> PoolFacts:
        """Name, path, identity and sizes in bytes, straight from the file system."""
        with self._link.use(f"reading storage pool {self.pool}"):
            space = os.statvfs(self.path)
            return PoolFacts(
                name=self.pool,
                path=str(self.path),
                storage_id=storage_id(self.path),
                capacity=space.f_blocks * space.f_frsize,
                available=space.f_bavail * space.f_frsize,
            )

    def direct_io(self) -> bool:
        """Whether the pool's file system takes O_DIRECT; probed once."""
        if self._direct_io is None:
            self._direct_io = takes_direct_io(self.path)
        return self._direct_io

    def create_volume(self, name: str, xml_of: Any) -> None:
        """Make the volume `name`: under a name of its own first, so that a half-made one is never taken
        for it. `xml_of` gives the XML for a name.
        """
        with self._link.use(f"making volume {name}") as handle:
            pool = pool_by_name(handle, self.pool)
            if pool is None:
                raise CommandError("failed", f"storage pool {self.pool} has vanished; restart the agent")
            self.sweep(name)
            partial = f"{name}.{uuid.uuid4().hex[:8]}{names.PARTIAL}"
            pool.createXML(xml_of(partial))
            (self.path / partial).rename(self.path / name)

    def sweep(self, name: str) -> None:
        """Delete what an interrupted making of volume `name` left."""
        for partial in self.path.glob(f"{name}.*{names.PARTIAL}"):
            partial.unlink(missing_ok=True)

    def refresh(self) -> None:
        """Have libvirt see the files as they are; nothing of ours depends on it, so failing is fine."""
        with self._refreshing, contextlib.suppress(CommandError), self._link.use("refreshing") as handle:
            pool = pool_by_name(handle, self.pool)
            for attempt in range(_REFRESH_TRIES):
                try:
                    if pool is not None:
                        pool.refresh()
                except libvirt.libvirtError:
                    # Another volume is being made at this moment.
                    time.sleep(0.1 * (attempt + 1))
                else:
                    return

    def _define(self, handle: Any) -> Any:
        try:
            return handle.storagePoolDefineXML(pool_xml(self.pool, self.path))
        except libvirt.libvirtError:
            # Another thread or program may have been first.
            pool = pool_by_name(handle, self.pool)
            if pool is None:
                raise
            return pool


def _tolerate(action: Any, done: Any) -> None:
    """Do what another thread or program may be doing at the same time."""
    try:
        action()
    except libvirt.libvirtError:
        if not done():
            raise
