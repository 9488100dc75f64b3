"""The call that migrates, in a thread and on a connection of its own.

libvirtd serves only a few calls of one connection at a time, and this one takes as long as the migration. A
peer-to-peer migration goes on in libvirtd when the caller dies.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import libvirt

from agent.drivers.libvirt import errors, mounts, names, states
from agent.drivers.libvirt.connection import open_connection, translated
from agent.drivers.libvirt.lookup import domain_by_uuid, existing_domain
from agent.drivers.libvirt.numa_xml import repinned
from agent.drivers.libvirt.runtime import resume_paused
from agent.drivers.libvirt.storage import Storage
from protocol.commands import CommandError, Migrate

_FLAGS = (
    libvirt.VIR_MIGRATE_LIVE
    | libvirt.VIR_MIGRATE_PEER2PEER
    | libvirt.VIR_MIGRATE_PERSIST_DEST
    | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
)
# The running domain and its definition, as the target is to have them.
_WRITTEN_ANEW = (
    (libvirt.VIR_MIGRATE_PARAM_DEST_XML, libvirt.VIR_DOMAIN_XML_MIGRATABLE),
    (libvirt.VIR_MIGRATE_PARAM_PERSIST_XML, libvirt.VIR_DOMAIN_XML_INACTIVE),
)


@contextlib.contextmanager
def connected_ahead(order: Migrate, running: bool = True) -> Iterator[Any | None]:
    """A connection to the target of a domain that is held, so that it need not be made while the guest stands
    still; None when it is not to be had, or the domain did not run and so is to stay paused.
    """
    target = None
    if order.hold and running:
        with contextlib.suppress(CommandError):
            target = open_connection(order.target_uri)
    try:
        yield target
    finally:
        if target is not None:
            target.close()


def let_go_on(order: Migrate, target: Any | None) -> None:
    """Have a domain that has left here and was held go on at the target.

    Where that fails, the coordinator has the target's agent do it a little later.
    """
    with contextlib.suppress(libvirt.libvirtError):
        domain = None if target is None else domain_by_uuid(target, order.uuid)
        if domain is not None:
            resume_paused(domain)


class MigrationCall:
    """One call of virDomainMigrateToURI3; `done` is set when it has returned, `error` says how."""

    def __init__(self, uri: str, order: Migrate, storage: Storage) -> None:
        self.done = threading.Event()
        self.error: CommandError | None = None
        self._uri = uri
        self._order = order
        self._storage = storage

    def start(self) -> None:
        """Begin; returns at once."""
        threading.Thread(target=self._run, name=f"migrate-{self._order.uuid[:8]}", daemon=True).start()

    def _run(self) -> None:
        try:
            handle = open_connection(self._uri)
            try:
                doing = f"migrating domain {self._order.uuid} to {self._order.target_uri}"
                with translated(self._uri, handle, doing):
                    domain = existing_domain(handle, self._order.uuid)
                    running = domain.state()[0] == states.RUNNING
                    with connected_ahead(self._order, running) as target:
                        self._migrate(domain)
                        # Success means that the source's QEMU is gone: only now may it run there.
                        let_go_on(self._order, target)
            finally:
                handle.close()
        except CommandError as error:
            self.error = error
        except Exception as error:  # whoever waits must hear of it, whatever it is
            self.error = CommandError("failed", f"migrating domain {self._order.uuid} failed: {error}")
        finally:
            self.done.set()

    def _migrate(self, domain: Any) -> None:
        order = self._order
        parameters: dict[str, Any] = {
            libvirt.VIR_MIGRATE_PARAM_URI: names.migration_stream(order.target_address)
        }
        if order.bandwidth_mib:
            parameters[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH] = order.bandwidth_mib
        if order.numa:
            for name, which in _WRITTEN_ANEW:
                xml = domain.XMLDesc(which | libvirt.VIR_DOMAIN_XML_SECURE)
                parameters[name] = repinned(xml, order.numa)
        flags = _FLAGS | (libvirt.VIR_MIGRATE_NON_SHARED_INC if order.copy else 0)
        flags |= libvirt.VIR_MIGRATE_PAUSED if order.hold else 0
        if order.target_uri.startswith("qemu+tls:"):
            # A control connection over TLS does not encrypt the memory and disks that follow it.
            flags |= libvirt.VIR_MIGRATE_TLS
            parameters[libvirt.VIR_MIGRATE_PARAM_TLS_DESTINATION] = order.target_address
        try:
            domain.migrateToURI3(order.target_uri, parameters, flags)
        except libvirt.libvirtError as error:
            if error.get_error_code() != errors.MIGRATE_UNSAFE or not self._shared_by_one_kernel():
                raise
            domain.migrateToURI3(order.target_uri, parameters, flags | libvirt.VIR_MIGRATE_UNSAFE)

    def _shared_by_one_kernel(self) -> bool:
        """Whether the pool is shared and yet a local file system: both hosts are then on one machine.

        libvirt takes such storage for unshared; the coordinator knows from its marker that it is shared, and
        one kernel's page cache is coherent.
        """
        if self._order.copy:
            return False
        table = mounts.MOUNTS.read_text(encoding="utf-8", errors="replace")
        return mounts.is_local(mounts.file_system(self._storage.path.resolve(), table))
