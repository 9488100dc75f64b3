"""Records of VMs: what is known when one is accepted, and what its host decides."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from hpgreedy.operations.context import Context
from hpgreedy.operations.cpu import is_kvm
from hpgreedy.operations.records import VmRecord
from hpgreedy.operations.world import World
from hpgreedy.placement import Placed
from protocol.spec import ImageManifest, VmSpec

MAC_PREFIX = "52:54:00"


def new_vm(
    ctx: Context,
    owner: str,
    spec: VmSpec,
    images: tuple[ImageManifest | None, ImageManifest | None],
    *,
    uuid: str,
    operation: int,
) -> VmRecord:
    """A VM that has no host yet, made by `operation`; `images` are those of its disk and of its kernel."""
    return VmRecord(
        spec=spec,
        uuid=uuid,
        macs=_macs(ctx, spec),
        max_cpu=spec.max_cpu or spec.cpu,
        max_memory=int(spec.max_memory or spec.memory),
        owner=owner,
        created=ctx.now.wall,
        made_by=operation,
        operation=operation,
        image=images[0],
        kernel_image=images[1],
    )


def at_home(ctx: Context, vm: VmRecord, placed: Placed) -> VmRecord:
    """The VM with the host it was given and what follows from that."""
    spec, hello = vm.spec, ctx.world.hosts[placed.host].hello
    return msgspec.structs.replace(
        vm,
        host=placed.host,
        max_cpu=spec.max_cpu or _can_grow_to(ctx, spec.cpu, hello.capacity.cpus),
        max_memory=int(spec.max_memory or _can_grow_to(ctx, int(spec.memory), hello.capacity.memory_mib)),
        cpu_model=spec.cpu_model or (ctx.world.baseline() if is_kvm(hello) else None),
        accelerator=hello.accelerator.kind,
        numa_nodes=placed.numa_nodes,
        why_here=placed.why,
        runner_up=placed.runner_up,
    )


def users_of(world: World, image: str) -> list[VmRecord]:
    """The VMs whose disk or kernel comes from the image."""
    return [
        vm
        for vm in world.vms.values()
        if any(used is not None and used.name == image for used in (vm.image, vm.kernel_image))
    ]


def _can_grow_to(ctx: Context, size: int, of_host: int) -> int:
    """The maximum of a VM that names none: `growth` times its size, within what its host really has."""
    return max(size, min(int(size * ctx.world.settings.growth), of_host))


def _macs(ctx: Context, spec: VmSpec) -> tuple[str, ...]:
    """Addresses for the VM's cards: the cluster's counter gives each one once."""
    wanted = [nic.mac for nic in spec.nics] if spec.nics is not None else [None]
    macs: list[str] = []
    for mac in wanted:
        macs.append(mac or _next_mac(ctx, macs))
    return tuple(macs)


def _next_mac(ctx: Context, own: Sequence[str]) -> str:
    base = int(ctx.world.meta.cluster[:6], 16)
    while True:
        number = ctx.world.meta.next_mac
        ctx.put_meta(msgspec.structs.replace(ctx.world.meta, next_mac=(number + 1) % 2**24))
        tail = f"{(base + number) % 2**24:06x}"
        mac = f"{MAC_PREFIX}:{tail[:2]}:{tail[2:4]}:{tail[4:]}"
        if mac not in ctx.world.macs and mac not in own:
            return mac
