"""From records to what clients are shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from hpgreedy.model import HostState
from hpgreedy.operations import queue
from hpgreedy.operations.context import Context
from hpgreedy.operations.inventory import foreign
from hpgreedy.operations.places import Planned, must_copy
from hpgreedy.operations.records import ImageRecord, OperationRecord, VmRecord
from hpgreedy.operations.vms import users_of
from hpgreedy.operations.world import Now, World
from hpgreedy.placement import Fleet
from hpgreedy.placement.words import count
from protocol.messages import MigrationProgress
from protocol.spec import VmSpec, encode_spec
from protocol.spec.affinity import HOST_SCOPE
from protocol.verbs import (
    ForeignDomain,
    HostView,
    ImageView,
    OpStep,
    OpView,
    PlacementView,
    PlannedMove,
    VmView,
)

_BY_OPERATION = {
    ("create", "waiting"): "waiting",
    ("create", "making_room"): "pending",
    ("create", "provisioning"): "provisioning",
    ("create", "starting"): "starting",
    ("create", "cleaning"): "deleting",
    ("start", "starting"): "starting",
    ("stop", "shutting_down"): "stopping",
}
_BY_KIND = {"migrate": "migrating", "delete": "deleting"}
_BY_DOMAIN = {"shutoff": "stopped", "incoming": "migrating", "outgoing": "migrating"}


def vm_state(world: World, vm: VmRecord, now: Now) -> str:
    """The state of a VM as `VmView` documents it."""
    if vm.operation is not None:
        op = world.operations[vm.operation]
        if op.state != "pending":
            return _BY_OPERATION.get((op.kind, op.state)) or _BY_KIND.get(op.kind, op.state)
    if vm.host is None or vm.host not in world.hosts:
        return "unknown"
    state, _ = world.host_state(vm.host, now)
    if state in (HostState.UNREACHABLE, HostState.DOWN):
        return "unknown"
    domain = world.domain(vm)
    if domain is None:
        reported = world.live_of(vm.host).report is not None
        return vm.desired if world.settling(vm, now) else ("missing" if reported else "unknown")
    return _BY_DOMAIN.get(domain.state, domain.state)


def vm_view(world: World, vm: VmRecord, now: Now, *, whole: bool = False) -> VmView:
    """A VM; with its spec when `whole`."""
    domain = world.domain(vm)
    return VmView(
        id=vm.spec.id,
        uuid=vm.uuid,
        host=vm.host,
        state=vm_state(world, vm, now),
        desired=vm.desired,
        cpu=vm.spec.cpu,
        memory=int(vm.spec.memory),
        max_cpu=vm.max_cpu,
        max_memory=vm.max_memory,
        memory_used=domain.memory_used_mib if domain is not None else 0,
        cpu_percent=world.cpu_percent.get(vm.uuid) if domain is not None else None,
        image=vm.image.name if vm.image is not None else None,
        macs=vm.macs,
        owner=vm.owner,
        labels=vm.spec.labels,
        pinned=vm.spec.pinned,
        operation=vm.operation,
        waits_for="" if vm.operation is None else queue.told(world, world.operations[vm.operation], now),
        why_here=vm.why_here,
        runner_up=vm.runner_up,
        cpu_model=vm.cpu_model,
        numa_nodes=vm.numa_nodes,
        problem=vm.problem,
        created=vm.created,
        rules=tuple(rules_of(vm.spec)) if whole else (),
        spec=encode_spec(vm.spec) if whole else {},
    )


def rules_of(spec: VmSpec) -> Iterator[str]:
    """What a VM asks of its host apart from room, a sentence each."""
    for name, value in sorted(spec.host_labels.items()):
        yield f"its host must have the label {name}={value}"
    for rule in spec.affinity:
        labels = ", ".join(f"{name}={value}" for name, value in sorted(rule.label.items()))
        about = f"group {rule.group}" if rule.group else labels or ", ".join(sorted(rule.host_keys))
        scope = (
            "" if rule.group is None or rule.scope == HOST_SCOPE else f", one {rule.scope} being one place"
        )
        must = "must" if rule.hard else f"should, with weight {rule.weight:g},"
        link = {"apart": "be apart from", "together": "be together with", "near": "be near", "avoid": "avoid"}
        yield f"it {must} {link[rule.rule]} {about}{scope}"
    for nic in spec.nics or ():
        if nic.bridge is not None:
            yield f"its host must have the bridge {nic.bridge}"
        if nic.network is not None:
            yield f"its host must have the network {nic.network}"
    if spec.pool is not None:
        yield f"its host must have the storage pool {spec.pool}"
    if spec.numa is not None:
        yield f"it must fit inside {count(spec.numa, 'NUMA node')}"
    if spec.pinned:
        yield "it is never moved to make room for another"


def placement_view(ctx: Context, planned: Planned) -> PlacementView:
    """A place that was found for a VM."""
    placed, vms = planned.placed, ctx.world.vms
    return PlacementView(
        vm=planned.spec.id,
        host=placed.host,
        numa_nodes=placed.numa_nodes,
        moves=tuple(
            PlannedMove(
                vm=vms[move.vm].spec.id,
                source=move.source,
                target=move.target,
                memory=move.memory,
                numa_nodes=move.numa_nodes,
                copy=must_copy(ctx, vms[move.vm], move.target),
            )
            for move in placed.moves
        ),
        why=placed.why,
        runner_up=placed.runner_up,
        algorithm=placed.algorithm,
        explanation=planned.explanation,
    )


def host_view(world: World, name: str, now: Now, fleet: Fleet) -> HostView:
    """A host with what is given out on it, by the world's fleet."""
    record, live = world.hosts[name], world.live_of(name)
    position = fleet.position[name]
    host, used = fleet.hosts[position], fleet.used(position)
    state, problem = world.host_state(name, now)
    shown = "left" if live.left else {"down": "hypervisor-down"}.get(state.value, state.value)
    usage = live.report.usage if live.report is not None else None
    here = tuple(world.vms[key].spec.id for key in world.on_host.get(name, ()))
    hello = record.hello
    return HostView(
        name=name,
        id=record.id,
        state=shown,
        problem=problem,
        cpu=host.cpu,
        memory=host.memory,
        cpu_capacity=host.cpu_capacity,
        memory_capacity=host.memory_capacity,
        cpu_allocated=used.cpu,
        memory_allocated=used.memory,
        cpu_overcommit=host.cpu_overcommit,
        memory_overcommit=host.memory_overcommit,
        cpu_percent=usage.cpu_percent if usage is not None else 0.0,
        memory_used=usage.memory_used_mib if usage is not None else 0,
        vms=len(here),
        address=hello.address,
        hypervisor=hello.hypervisor,
        hypervisor_uuid=hello.hypervisor_uuid,
        accelerator=hello.accelerator.kind,
        accelerator_reason=hello.accelerator.reason,
        versions=hello.versions,
        guards=hello.guards,
        labels=hello.labels,
        resources=host.resources,
        pools=tuple(msgspec.to_builtins(pool) for pool in world.pools(name)),
        networks=hello.networks,
        bridges=hello.bridges,
        migrate_uri=hello.migrate_uri,
        last_report=live.heard_wall,
        foreign=tuple(foreign_domains(world, name)),
        vm_ids=here,
    )


def foreign_domains(world: World, name: str) -> list[ForeignDomain]:
    """The domains on a host that are none of this cluster's VMs."""
    return [
        ForeignDomain(
            name=domain.name,
            uuid=domain.uuid,
            host=name,
            state=domain.state,
            cpu=domain.cpus,
            memory=domain.memory_mib,
        )
        for domain in foreign(world, name)
    ]


def op_view(
    op: OperationRecord,
    progress: MigrationProgress | None = None,
    *,
    waits_for: str = "",
    whole: bool = True,
) -> OpView:
    """An operation; its history only when `whole`."""
    return OpView(
        id=op.id,
        kind=op.kind,
        state=op.state,
        done=op.done,
        ok=op.ok,
        vm=op.vm,
        source=op.source,
        target=op.target,
        owner=op.owner,
        created=op.created,
        updated=op.updated,
        error=op.error,
        why=op.why,
        waits_for=waits_for,
        parent=op.parent,
        retry_of=op.retry_of,
        cancelled_by=op.cancelled_by,
        children=op.children,
        progress=progress,
        outcome=op.outcome,
        history=tuple(
            OpStep(at=s.at, state=s.state, note=s.note, by=s.by, count=s.count)
            for s in (op.history if whole else ())
        ),
    )


def image_view(world: World, image: ImageRecord) -> ImageView:
    """An image and the VMs that stand on it."""
    manifest = image.manifest
    files: list[dict[str, Any]] = [msgspec.to_builtins(file) for file in manifest.files]
    return ImageView(
        name=manifest.name,
        files=tuple(files),
        cmdline=manifest.cmdline,
        virtual_size=int(manifest.virtual_size) if manifest.virtual_size is not None else None,
        state="ready" if image.ready else "uploading",
        used_by=tuple(vm.spec.id for vm in users_of(world, manifest.name)),
        default=world.settings.default_image == manifest.name,
    )
