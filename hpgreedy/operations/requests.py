"""Requests become operations: validated against the world first, then accepted whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from hpgreedy.model import Demand, HostState
from hpgreedy.operations.context import Context, Refusal
from hpgreedy.operations.cpu import is_kvm
from hpgreedy.operations.kinds.base import begin, proceed
from hpgreedy.operations.records import OperationRecord, VmRecord
from hpgreedy.placement import Move, NotPlaced, Placed, Placer
from protocol.spec import ImageManifest, SpecError, VmSpec

MAC_PREFIX = "52:54:00"
MAX_OPEN = 10_000
MIGRATION_ALGORITHM = "best_fit"


class Planned(msgspec.Struct, frozen=True):
    """A VM with its place and the images it stands on."""

    spec: VmSpec
    placed: Placed
    image: ImageManifest | None
    kernel_image: ImageManifest | None


def submit(
    ctx: Context, owner: str, specs: Sequence[VmSpec], algorithm: str, mint_uuid: Callable[[], str]
) -> tuple[OperationRecord, ...]:
    """Accept VMs: all are placed and reserved, or Refusal says why and nothing has changed."""
    if len(ctx.world.open) + len(specs) > MAX_OPEN:
        raise Refusal("busy", f"{len(ctx.world.open)} operations are open already; try again in a while")
    _refuse_known(ctx, specs)
    _refuse_taken_macs(ctx, specs)
    planned = _plan(ctx, specs, algorithm)
    return tuple(_create(ctx, owner, plan, mint_uuid()) for plan in planned)


def migrate(
    ctx: Context, owner: str, vm: VmRecord, *, to: str | None, bandwidth: int, why: str = ""
) -> OperationRecord:
    """Accept a live migration; Refusal says why not."""
    hold_free(ctx, vm)
    assert vm.host is not None
    state, problem = ctx.world.host_state(vm.host, ctx.now)
    if state not in (HostState.UP, HostState.DRAINING):
        raise Refusal("refused", f"{vm.key} is on {vm.host}, which is {state.value}: {problem}")
    if not ctx.world.runs(vm):
        raise Refusal("refused", f"{vm.key} does not run, so there is nothing to migrate live")
    if to is not None and to == vm.host:
        raise Refusal("refused", f"{vm.key} is on {to} already", "to")
    demand = msgspec.structs.replace(vm.demand, wanted_host=to)
    answer = Placer(ctx.world.fleet(ctx.now)).decide(demand, MIGRATION_ALGORITHM)
    if isinstance(answer, NotPlaced):
        raise Refusal("refused", answer.why, "to", details_of(answer))
    return begin(
        ctx,
        new_migration(
            ctx, owner, vm, answer.host, why or answer.why, numa_nodes=answer.numa_nodes, bandwidth=bandwidth
        ),
    )


def new_migration(
    ctx: Context,
    owner: str,
    vm: VmRecord,
    target: str,
    why: str,
    *,
    numa_nodes: tuple[int, ...] = (),
    bandwidth: int = 0,
    parent: int | None = None,
) -> OperationRecord:
    """A migration that has been decided, not begun; as part of another operation it waits for its turn.

    From now on it has hold of the VM, and of room at both ends.
    """
    assert vm.host is not None
    args: dict[str, object] = {"copy": _must_copy(ctx, vm, target), "bandwidth": bandwidth}
    if vm.numa_nodes or numa_nodes:
        args["numa"] = {"source": list(vm.numa_nodes), "target": list(numa_nodes)}
    op = ctx.new_operation(
        "migrate",
        "preparation" if parent is None else "pending",
        owner,
        vm=vm.spec.id,
        source=vm.host,
        target=target,
        why=why,
        parent=parent,
        args=args,
    )
    ctx.put_vm(msgspec.structs.replace(vm, operation=op.id))
    return op


def on_vm(ctx: Context, kind: str, state: str, owner: str, vm: VmRecord, **args: object) -> OperationRecord:
    """Begin an operation that concerns a VM where it is: delete, start or stop."""
    hold_free(ctx, vm)
    op = ctx.new_operation(kind, state, owner, vm=vm.spec.id, source=vm.host, args=dict(args))
    ctx.put_vm(msgspec.structs.replace(vm, operation=op.id))
    return begin(ctx, op)


def hold_free(ctx: Context, vm: VmRecord) -> None:
    """Refuse when an operation has hold of the VM."""
    if vm.operation is not None:
        op = ctx.world.operations[vm.operation]
        raise Refusal(
            "busy", f"operation {op.id} ({op.kind}, {op.state}) has hold of {vm.key}; wait until it ends"
        )


def images_of(ctx: Context, spec: VmSpec, where: str) -> tuple[ImageManifest | None, ImageManifest | None]:
    """The images a VM's disk and kernel come from; raises Refusal when one does not exist or fit."""
    name = spec.image or ctx.world.settings.default_image
    field = "image" if spec.image else "default_image"
    image = _image(ctx, name, f"{where}.{field}") if name else None
    kernel = image if image is not None and image.file("kernel") is not None else None
    if spec.kernel is not None:
        kernel = _image(ctx, spec.kernel.image, f"{where}.kernel.image") if spec.kernel.image else image
        if kernel is None or kernel.file("kernel") is None:
            named = kernel.name if kernel is not None else None
            raise Refusal(
                "bad_request",
                f"{where}.kernel asks for a direct kernel boot, and "
                + (f"image {named!r} has no kernel" if named else "no image is given")
                + "; name an image with a kernel",
                f"{where}.kernel",
            )
    return image, kernel


def _image(ctx: Context, name: str, where: str) -> ImageManifest:
    record = ctx.world.images.get(name)
    if record is None or not record.ready or record.operation is not None:
        ready = sorted(key for key, image in ctx.world.images.items() if image.ready)
        known = f"known are {', '.join(ready)}" if ready else "there are none yet; `image add` adds one"
        raise Refusal("bad_request", f"{where} is {name!r}, an image that does not exist; {known}", where)
    return record.manifest


def _refuse_known(ctx: Context, specs: Sequence[VmSpec]) -> None:
    seen: set[str] = set()
    for n, spec in enumerate(specs):
        if spec.key in ctx.world.vms:
            host = ctx.world.vms[spec.key].host
            raise Refusal(
                "exists",
                f"vms[{n}].id is {spec.key!r}, and a VM of that id exists on {host}; "
                "choose another id or delete that one first",
                f"vms[{n}].id",
            )
        if spec.key in seen:
            raise Refusal("bad_request", f"vms[{n}].id is {spec.key!r} for the second time", f"vms[{n}].id")
        seen.add(spec.key)


def _plan(ctx: Context, specs: Sequence[VmSpec], algorithm: str) -> list[Planned]:
    """A place for each, on top of those before it; in the fleet they are held until it is asked for again."""
    world = ctx.world
    placer = Placer(world.fleet(ctx.now))
    number, last = world.meta.next_operation, world.meta.last_host
    deadline = world.clock() + world.settings.room_seconds
    planned = []
    for n, spec in enumerate(specs):
        image, kernel = images_of(ctx, spec, f"vms[{n}]")
        demand = Demand.of_spec(spec)
        placer.limits = world.limits(max(0.0, deadline - world.clock()))
        try:
            # The number of the operation that is to make it: with it the decision can be run again.
            answer = placer.decide(demand, algorithm, seed=number, last=last)
        except SpecError as error:
            raise Refusal("bad_request", error.message, "algorithm") from error
        if isinstance(answer, NotPlaced):
            accepted = f" (the {n} before it would fit; nothing was accepted)" if n else ""
            raise Refusal(
                "refused",
                f"{spec.key} was not placed: {answer.why}{accepted}",
                f"vms[{n}]",
                {"vm": spec.id, **details_of(answer)},
            )
        planned.append(Planned(spec, answer, image, kernel))
        world.tried(spec.key, *(move.vm for move in answer.moves))
        placer.reserve(demand, answer)
        number += 1 + len(answer.moves)
        last = answer.host
    return planned


def _create(ctx: Context, owner: str, plan: Planned, uuid: str) -> OperationRecord:
    spec, placed, hello = plan.spec, plan.placed, ctx.world.hosts[plan.placed.host].hello
    op = ctx.new_operation(
        "create", "making_room" if placed.moves else "provisioning", owner, vm=spec.id, target=placed.host,
        why=placed.why, args={"algorithm": placed.algorithm},
    )  # fmt: skip
    vm = VmRecord(
        spec=spec,
        uuid=uuid,
        macs=_macs(ctx, spec),
        max_cpu=spec.max_cpu or _can_grow_to(ctx, spec.cpu, hello.capacity.cpus),
        max_memory=int(spec.max_memory or _can_grow_to(ctx, int(spec.memory), hello.capacity.memory_mib)),
        owner=owner,
        created=ctx.now.wall,
        made_by=op.id,
        host=placed.host,
        operation=op.id,
        image=plan.image,
        kernel_image=plan.kernel_image,
        cpu_model=spec.cpu_model or (ctx.world.baseline() if is_kvm(hello) else None),
        numa_nodes=placed.numa_nodes,
        why_here=placed.why,
        runner_up=placed.runner_up,
    )
    ctx.put_vm(vm)
    ctx.put_meta(msgspec.structs.replace(ctx.world.meta, last_host=placed.host))
    if not placed.moves:
        return begin(ctx, op)
    return _create_after(ctx, op, placed.moves)


def _create_after(ctx: Context, op: OperationRecord, moves: tuple[Move, ...]) -> OperationRecord:
    """The moves that make room for a VM, each of them held from now on; the first begins."""
    steps = tuple(
        new_migration(
            ctx,
            op.owner,
            ctx.world.vms[move.vm],
            move.target,
            f"makes room for {op.vm}",
            numa_nodes=move.numa_nodes,
            parent=op.id,
        )
        for move in moves
    )
    numbers = ", then ".join(str(step.id) for step in steps)
    op = ctx.note(op, f"waits for operation(s) {numbers}", children=tuple(step.id for step in steps))
    proceed(ctx, steps[0], "preparation", "its turn has come")
    return op


def _can_grow_to(ctx: Context, size: int, of_host: int) -> int:
    """The maximum of a VM that names none: `growth` times its size, within what its host really has."""
    return max(size, min(int(size * ctx.world.settings.growth), of_host))


def _refuse_taken_macs(ctx: Context, specs: Sequence[VmSpec]) -> None:
    asked: dict[str, str] = {}
    for v, spec in enumerate(specs):
        for n, nic in enumerate(spec.nics or ()):
            if nic.mac is None:
                continue
            holder = ctx.world.macs.get(nic.mac) or asked.get(nic.mac)
            if holder is not None:
                field = f"vms[{v}].nics[{n}].mac"
                raise Refusal("bad_request", f"{field} is {nic.mac!r}, which {holder} has", field)
            asked[nic.mac] = spec.key


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


def _must_copy(ctx: Context, vm: VmRecord, target: str) -> bool:
    """Disks are copied when the VM has some and the two hosts' pools are not the same storage."""
    assert vm.host is not None
    has_disk = vm.image is not None and vm.image.file("disk") is not None
    if not has_disk and not vm.spec.disks and vm.spec.cloud_init is None:
        return False
    here, there = ctx.world.storage_ids(vm.host), ctx.world.storage_ids(target)
    if not here or not there:
        silent = vm.host if not here else target
        raise Refusal(
            "unavailable", f"the storage of {silent} is not known yet, so {vm.key} stays; try again soon"
        )
    return not here & there


def details_of(answer: NotPlaced) -> dict[str, object]:
    """A refusal as values, for whoever asked."""
    rejections = [{**msgspec.to_builtins(item), "sentence": item.sentence()} for item in answer.rejections]
    return {"rejections": rejections, "ever": answer.ever}
