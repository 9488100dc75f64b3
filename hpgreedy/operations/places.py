"""A place for each VM of a request, as things stand: what a dry run shows and a submit then does."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from hpgreedy.model import Demand
from hpgreedy.operations.context import Context, Refusal
from hpgreedy.operations.records import VmRecord
from hpgreedy.operations.world import World
from hpgreedy.placement import Fleet, NotPlaced, Placed, Placer, notices
from hpgreedy.placement.explain.answer import explain_answer
from hpgreedy.placement.restart import admit
from protocol.explanation import Explanation
from protocol.spec import ImageManifest, SpecError, VmSpec

MOST_REJECTIONS = 100
"""Hosts that a refusal lists one by one; its explanation has them all, by rule."""


class Planned(msgspec.Struct, frozen=True):
    """A VM with its place and the images it stands on; explained where that was asked for."""

    spec: VmSpec
    placed: Placed
    image: ImageManifest | None
    kernel_image: ImageManifest | None
    explanation: Explanation | None = None


def plan(ctx: Context, specs: Sequence[VmSpec], algorithm: str, *, explained: bool = False) -> list[Planned]:
    """A place for each, on top of those before it; nothing is changed. Raises Refusal when one has none.

    In the fleet the places are held until it is asked for again.
    """
    refuse_known(ctx, specs)
    refuse_taken_macs(ctx, specs)
    world = ctx.world
    placer = Placer(world.fleet(ctx.now))
    number, last = world.meta.next_operation, world.meta.last_host
    started = world.clock()
    deadline = started + world.settings.room_seconds
    restarts = world.restarts(ctx.now)
    images = [images_of(ctx, spec, f"vms[{n}]") for n, spec in enumerate(specs)]
    demands = [Demand.of_spec(spec) for spec in specs]
    planned: dict[int, Planned] = {}
    placer.limits = world.limits()
    for n in _turns(placer, demands, algorithm, seed=number, last=last):
        _refuse_late(world, started, len(planned), len(specs))
        spec, demand = specs[n], demands[n]
        placer.limits = world.limits(max(0.0, deadline - world.clock()))
        # The number of the operation that is to make it: with it the decision can be run again.
        admitted = admit(
            placer, restarts, world.settings.admission, demand, algorithm, seed=number, last=last
        )
        answer = admitted.answer
        if isinstance(answer, NotPlaced):
            accepted = f" ({len(planned)} others would fit; nothing was accepted)" if planned else ""
            raise Refusal(
                "refused",
                f"{spec.key} was not placed: {answer.why}{accepted}",
                f"vms[{n}]",
                details_of(placer.fleet, demand, answer),
            )
        ctx.notes.extend(f"{spec.key}: {each}" for each in notices(placer.fleet, demand))
        if admitted.note:
            ctx.notes.append(admitted.note)
        why = explain_answer(placer.fleet, demand, answer, seed=number, last=last) if explained else None
        planned[n] = Planned(spec, answer, *images[n], why)
        world.tried(spec.key, *(move.vm for move in answer.moves))
        placer.reserve(demand, answer)
        number += 1 + len(answer.moves)
        last = answer.host
    return [planned[n] for n in range(len(specs))]


def _refuse_late(world: World, started: float, decided: int, wanted: int) -> None:
    seconds = world.settings.decide_seconds
    # One VM cannot be sent in smaller files.
    if wanted > 1 and world.clock() - started > seconds:
        raise Refusal(
            "busy",
            f"deciding on {wanted} VMs takes too long: {decided} of them were decided on in {seconds:g} s, "
            "and nothing was accepted; send them in smaller files",
        )


def _turns(
    placer: Placer, demands: list[Demand], algorithm: str, *, seed: int, last: str | None
) -> tuple[int, ...]:
    try:
        return placer.turns(demands, algorithm, seed=seed, last=last)
    except SpecError as error:
        raise Refusal("bad_request", error.message, "algorithm") from error


def details_of(fleet: Fleet, demand: Demand, answer: NotPlaced) -> dict[str, object]:
    """A refusal as values, for whoever asked."""
    rejections = [
        {**msgspec.to_builtins(item), "sentence": item.sentence()}
        for item in answer.rejections[:MOST_REJECTIONS]
    ]
    return {
        "vm": demand.key,
        "rejections": rejections,
        "ever": answer.ever,
        "explanation": msgspec.to_builtins(explain_answer(fleet, demand, answer)),
    }


def must_copy(ctx: Context, vm: VmRecord, target: str) -> bool:
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


def refuse_known(ctx: Context, specs: Sequence[VmSpec]) -> None:
    """Refuse VMs whose ids are taken."""
    seen: set[str] = set()
    for n, spec in enumerate(specs):
        if spec.key in ctx.world.vms:
            host = ctx.world.vms[spec.key].host
            where = "waits for a host" if host is None else f"exists on {host}"
            raise Refusal(
                "exists",
                f"vms[{n}].id is {spec.key!r}, and a VM of that id {where}; "
                "choose another id or delete that one first",
                f"vms[{n}].id",
            )
        if spec.key in seen:
            raise Refusal("bad_request", f"vms[{n}].id is {spec.key!r} for the second time", f"vms[{n}].id")
        seen.add(spec.key)


def refuse_taken_macs(ctx: Context, specs: Sequence[VmSpec]) -> None:
    """Refuse VMs whose addresses are taken."""
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
