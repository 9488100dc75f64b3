"""Facts of the host behind a connection, and what of them enters a domain's XML."""

from __future__ import annotations

import os
import threading
from typing import Any, Literal

import libvirt

from agent.drivers.libvirt import accelerator, links, names, networks
from agent.drivers.libvirt.connection import Connection
from agent.drivers.libvirt.domain_xml import HostContext
from agent.drivers.libvirt.metadata import parse_xml
from agent.drivers.libvirt.storage import Storage
from agent.ports import DriverSettings, HostFacts
from protocol.commands import CommandError
from protocol.messages import Accelerator

_DEFAULT_NETWORK = "default"
_DEFAULT_EMULATOR = "/usr/bin/qemu-system-x86_64"


class Host:
    """What has been found out about the host; `facts` anew with each connection."""

    def __init__(self, link: Connection, storage: Storage, settings: DriverSettings) -> None:
        self._link = link
        self._storage = storage
        self._settings = settings
        self._lock = threading.Lock()
        self._accelerator: Accelerator | None = None

    def facts(self) -> HostFacts:
        """Ask libvirt and the system; the first time this may boot a test guest under KVM."""
        try:
            uri = names.migrate_uri(self._settings.migration_transport, self._settings.address)
        except ValueError as error:
            raise CommandError("bad_arguments", str(error)) from error
        with self._link.use("reading the host's capabilities") as handle:
            capabilities = parse_xml(handle.getCapabilities())
            uuid = (capabilities.findtext("host/uuid") or "").lower()
            qemu = _version(_qemu_version(handle))
            return HostFacts(
                hypervisor_uuid=uuid,
                accelerator=self._decide(capabilities, qemu),
                networks=networks.active_networks(handle),
                bridges=links.bridges_of(links.devices()),
                versions={
                    "libvirt": _version(handle.getLibVersion()),
                    "qemu": qemu,
                    "kernel": os.uname().release,
                },
                migrate_uri=uri,
            )

    def context(self, handle: Any) -> HostContext:
        """What of the host enters a domain's XML now."""
        network = self._settings.network
        if self._settings.bridge is None and network is None:
            network = _DEFAULT_NETWORK if _DEFAULT_NETWORK in networks.active_networks(handle) else None
        with self._lock:
            chosen = self._accelerator
        kind: Literal["kvm", "qemu"] = "kvm" if chosen is not None and chosen.kind == "kvm" else "qemu"
        return HostContext(
            kind=kind,
            pool=self._storage.path,
            direct_io=self._storage.direct_io(),
            bridge=self._settings.bridge,
            network=network,
        )

    def _decide(self, capabilities: Any, qemu: str) -> Accelerator:
        chosen = accelerator.decide(
            wanted=self._settings.accelerator,
            emulator=_emulator(capabilities),
            qemu_version=qemu,
            boot_id=accelerator.boot_id(),
            state=self._settings.state,
            kernel=accelerator.host_kernel(self._settings.probe_kernel),
        )
        with self._lock:
            self._accelerator = chosen
        return chosen


def _emulator(capabilities: Any) -> str:
    for arch in capabilities.findall("guest/arch"):
        if arch.get("name") == "x86_64":
            return arch.findtext("emulator") or _DEFAULT_EMULATOR
    return _DEFAULT_EMULATOR


def _qemu_version(handle: Any) -> int:
    try:
        return int(handle.getVersion())
    except libvirt.libvirtError as error:
        raise CommandError(
            "hypervisor_down", f"libvirt runs and finds no QEMU: {error}; install qemu-system-x86"
        ) from error


def _version(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
