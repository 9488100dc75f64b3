"""Facts of the host behind a connection, and what of them enters a domain's XML."""

from __future__ import annotations

import os
import threading
from typing import Any, Literal

import libvirt

from agent.drivers.libvirt import accelerator, cpu_models, errors, links, locks, names, networks, numa_xml
from agent.drivers.libvirt.connection import Connection
from agent.drivers.libvirt.domain_xml import ARCH, MACHINE, HostContext
from agent.drivers.libvirt.metadata import parse_xml
from agent.drivers.libvirt.storage import Storage
from agent.ports import DriverSettings, HostFacts
from agent.terms import Terms
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
        self._terms = Terms(pool=settings.pool)

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
            chosen = self._decide(capabilities, qemu)
            terms = Terms(
                pool=self._settings.pool,
                cpu_models=_offered_models(handle, _guest_kind(chosen), self._settings.offer_cpu),
                numa=numa_xml.host_nodes(capabilities),
            )
            with self._lock:
                self._terms = terms
            return HostFacts(
                hypervisor_uuid=uuid,
                accelerator=chosen,
                networks=networks.active_networks(handle),
                bridges=links.bridges_of(links.devices()),
                versions={
                    "libvirt": _version(handle.getLibVersion()),
                    "qemu": qemu,
                    "kernel": os.uname().release,
                },
                migrate_uri=uri,
                cpu_models=terms.cpu_models,
                numa=terms.numa,
                guards={"locks": _on_or(locks.look(self._storage.path).problem)},
            )

    def context(self, handle: Any) -> HostContext:
        """What of the host enters a domain's XML now."""
        network = self._settings.network
        if self._settings.bridge is None and network is None:
            network = _DEFAULT_NETWORK if _DEFAULT_NETWORK in networks.active_networks(handle) else None
        with self._lock:
            chosen, terms = self._accelerator, self._terms
        return HostContext(
            kind=_guest_kind(chosen),
            terms=terms,
            pool=self._storage.path,
            lockspace=locks.look(self._storage.path).lockspace,
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


def _guest_kind(chosen: Accelerator | None) -> Literal["kvm", "qemu"]:
    return "kvm" if chosen is not None and chosen.kind == "kvm" else "qemu"


def _offered_models(handle: Any, kind: str, cap: str) -> tuple[str, ...]:
    guest = (None, ARCH, MACHINE, kind)

    def expand(cpu: str) -> str | None:
        try:
            flags = libvirt.VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES
            return str(handle.baselineHypervisorCPU(*guest, [cpu], flags))
        except libvirt.libvirtError as error:
            if error.get_error_code() in errors.NO_SUCH_CPU:
                return None
            raise

    models = cpu_models.known_models(handle.getDomainCapabilities(*guest))
    return cpu_models.offered(models, cpu_models.features_of(models, expand), cap)


def _emulator(capabilities: Any) -> str:
    for arch in capabilities.findall("guest/arch"):
        if arch.get("name") == ARCH:
            return arch.findtext("emulator") or _DEFAULT_EMULATOR
    return _DEFAULT_EMULATOR


def _qemu_version(handle: Any) -> int:
    try:
        return int(handle.getVersion())
    except libvirt.libvirtError as error:
        raise CommandError(
            "hypervisor_down", f"libvirt runs and finds no QEMU: {error}; install qemu-system-x86"
        ) from error


def _on_or(problem: str) -> str:
    return f"off: {problem}" if problem else "on"


def _version(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
