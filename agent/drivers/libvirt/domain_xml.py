"""A domain's XML from its plan; pure."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec
from lxml import etree
from lxml.builder import E

from agent.drivers.libvirt import names
from agent.drivers.libvirt.cpu_models import model_element
from agent.drivers.libvirt.metadata import metadata_element
from agent.drivers.libvirt.numa_xml import guest_cells, pin
from agent.terms import Terms, planned_nodes
from protocol.commands import CommandError, VmPlan
from protocol.spec import Nic

ARCH, MACHINE = "x86_64", "q35"


class HostContext(msgspec.Struct, frozen=True, kw_only=True):
    """What of the host enters a domain's XML.

    `direct_io` = the pool's file system takes O_DIRECT. `bridge` or `network` is where a card goes that
    names neither; both None = there is no default. `lockspace` is the folder in
    which libvirt locks leases, None = it locks none.
    """

    kind: Literal["kvm", "qemu"]
    pool: Path
    direct_io: bool
    terms: Terms
    lockspace: Path | None = None
    bridge: str | None = None
    network: str | None = None


def domain_xml(plan: VmPlan, host: HostContext) -> str:
    """The XML that defines the plan's domain; raises CommandError when the plan cannot be met here."""
    spec = plan.spec
    memory = max(plan.max_memory_mib, spec.memory.mib)
    vcpus = max(plan.max_cpu, spec.cpu)
    nodes = planned_nodes(plan, host.terms.numa)
    root = E.domain(
        {"type": host.kind},
        E.name(spec.key),
        E.uuid(plan.uuid),
        E.metadata(metadata_element(spec, plan.stamp)),
        E.memory({"unit": "MiB"}, str(memory)),
        E.currentMemory({"unit": "MiB"}, str(spec.memory.mib)),
        E.vcpu({"placement": "static", "current": str(spec.cpu)}, str(vcpus)),
        _boot(plan, host),
        E.features(E.acpi(), E.apic()),
        _cpu(plan, host),
        E.clock(
            {"offset": "utc"},
            E.timer({"name": "rtc", "tickpolicy": "catchup"}),
            E.timer({"name": "pit", "tickpolicy": "delay"}),
            E.timer({"name": "hpet", "present": "no"}),
        ),
        E.on_poweroff("destroy"),
        E.on_reboot("restart"),
        E.on_crash("destroy"),
        _devices(plan, host),
    )
    if nodes:
        pin(root, nodes)
    if len(nodes) > 1:
        root.find("cpu").append(guest_cells(vcpus, memory, len(nodes)))
    return str(etree.tostring(root, encoding="unicode", pretty_print=True))


def planned_nics(plan: VmPlan, host: HostContext) -> tuple[tuple[str, str, str], ...]:
    """(bridge or network, its name, MAC) of each card; raises CommandError where there is no default."""
    nics = (Nic(),) if plan.spec.nics is None else plan.spec.nics
    if len(nics) != len(plan.macs):
        raise CommandError(
            "bad_arguments",
            f"VM {plan.spec.key} has {len(nics)} network cards and the plan {len(plan.macs)} addresses; "
            "there must be one address a card",
        )
    return tuple((*_attachment(nic, plan, host), mac) for nic, mac in zip(nics, plan.macs, strict=True))


def seed_wanted(plan: VmPlan) -> bool:
    """Whether the VM gets a cloud-init seed."""
    return plan.spec.cloud_init is not None


def _attachment(nic: Nic, plan: VmPlan, host: HostContext) -> tuple[str, str]:
    if nic.bridge is not None:
        return "bridge", nic.bridge
    if nic.network is not None:
        return "network", nic.network
    if host.bridge is not None:
        return "bridge", host.bridge
    if host.network is not None:
        return "network", host.network
    raise CommandError(
        "refused",
        f"VM {plan.spec.key} wants a card on the host's default network and this host has none; give the "
        "agent a bridge or a libvirt network, name one in the VM's nics, or set nics to []",
    )


def _boot(plan: VmPlan, host: HostContext) -> Any:
    boot = E.os(E.type({"arch": ARCH, "machine": MACHINE}, "hvm"))
    image = plan.kernel_image
    if image is None:
        boot.append(E.boot({"dev": "hd"}))
        return boot
    kernel, initrd = image.file("kernel"), image.file("initrd")
    if kernel is None:
        raise CommandError(
            "bad_arguments",
            f"VM {plan.spec.key} is to boot the kernel of image {image.name}, which has no kernel",
        )
    boot.append(E.kernel(str(names.image_path(host.pool, image, kernel))))
    if initrd is not None:
        boot.append(E.initrd(str(names.image_path(host.pool, image, initrd))))
    own = plan.spec.kernel.cmdline if plan.spec.kernel is not None else ""
    boot.append(E.cmdline(" ".join(part for part in (image.cmdline, own) if part)))
    return boot


def _cpu(plan: VmPlan, host: HostContext) -> Any:
    if plan.cpu_model is not None:
        return model_element(plan.cpu_model)
    if host.kind == "kvm":
        return E.cpu({"mode": "host-model"})
    return E.cpu({"mode": "custom", "match": "exact"}, E.model({"fallback": "forbid"}, "qemu64"))


def _devices(plan: VmPlan, host: HostContext) -> Any:
    return E.devices(
        *_disks(plan, host),
        E.controller({"type": "usb", "model": "none"}),
        E.controller({"type": "virtio-serial", "index": "0"}),
        *(_card(*nic) for nic in planned_nics(plan, host)),
        *_lease(plan, host),
        *_consoles(plan.uuid),
        E.channel({"type": "unix"}, E.target({"type": "virtio", "name": "org.qemu.guest_agent.0"})),
        E.video(E.model({"type": "none"})),
        E.memballoon({"model": "virtio", "freePageReporting": "on"}, E.stats({"period": "2"})),
        E.rng({"model": "virtio"}, E.backend({"model": "random"}, "/dev/urandom")),
    )


def _disks(plan: VmPlan, host: HostContext) -> list[Any]:
    volumes = [names.root_disk(plan.uuid)] if root_wanted(plan) else []
    volumes += [names.extra_disk(plan.uuid, n + 1) for n in range(len(plan.spec.disks))]
    disks = [_disk(host, volume, n) for n, volume in enumerate(volumes)]
    if seed_wanted(plan):
        # No CD drive: cloud kernels lack AHCI, while what has a root disk here has virtio-blk.
        disks.append(
            E.disk(
                {"type": "file", "device": "disk"},
                E.driver({"name": "qemu", "type": "raw"}),
                E.source({"file": str(host.pool / names.seed(plan.uuid))}),
                E.target({"dev": _device(len(volumes)), "bus": "virtio"}),
                E.readonly(),
            )
        )
    return disks


def root_wanted(plan: VmPlan) -> bool:
    """Whether the VM has a disk that is an overlay over its image."""
    return plan.image is not None and plan.image.file("disk") is not None


def lease_wanted(plan: VmPlan) -> bool:
    """Whether no disk of the VM can carry the lock that keeps it from running twice."""
    return not root_wanted(plan) and not plan.spec.disks


def _lease(plan: VmPlan, host: HostContext) -> list[Any]:
    if host.lockspace is None or not lease_wanted(plan):
        return []
    # libvirt puts the two together, and the folder must be the lockspace of qemu-lockd.conf.
    return [
        E.lease(
            E.lockspace(host.lockspace.name),
            E.key(plan.uuid),
            E.target({"path": str(host.lockspace.parent)}),
        )
    ]


def _disk(host: HostContext, volume: str, number: int) -> Any:
    driver = {"name": "qemu", "type": "qcow2", "discard": "unmap", "cache": "writeback"}
    if host.direct_io:
        driver |= {"cache": "none", "io": "native"}
    return E.disk(
        {"type": "file", "device": "disk"},
        E.driver(driver),
        E.source({"file": str(host.pool / volume)}),
        E.target({"dev": _device(number), "bus": "virtio"}),
    )


def _device(number: int) -> str:
    return f"vd{chr(ord('a') + number)}"


def _card(kind: str, name: str, mac: str) -> Any:
    return E.interface(
        {"type": kind}, E.mac({"address": mac}), E.source({kind: name}), E.model({"type": "virtio"})
    )


def _consoles(uuid: str) -> list[Any]:
    log = {"file": str(names.console_log(uuid)), "append": "on"}
    return [
        E.serial({"type": "pty"}, E.log(log), E.target({"type": "isa-serial", "port": "0"})),
        E.console({"type": "pty"}, E.log(log), E.target({"type": "serial", "port": "0"})),
    ]
