"""What each verb does. Handlers validate, change through the engine, and answer with views."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

import protocol
from hpgreedy.coordinator.access import Caller
from hpgreedy.coordinator.acts import (
    Started,
    durable,
    find_host,
    find_operation,
    find_vm,
    own_operation,
    own_vm,
)
from hpgreedy.coordinator.core import Core
from hpgreedy.coordinator.export import cluster_file
from hpgreedy.coordinator.images import ImageFileError
from hpgreedy.coordinator.views import (
    host_view,
    image_view,
    op_view,
    vm_state,
    vm_view,
)
from hpgreedy.operations import again, queue, requests
from hpgreedy.operations.context import Context, Refusal
from hpgreedy.operations.records import ImageRecord, OperationRecord, VmRecord
from hpgreedy.operations.vms import users_of
from hpgreedy.placement import ALGORITHMS, DEFAULT
from protocol import verbs
from protocol.commands import ConsoleLog, ConsoleText
from protocol.spec import decode_spec, key_of


def vm_list(core: Core, caller: Caller, ask: verbs.VmList) -> tuple[verbs.VmView, ...]:
    """All VMs, oldest first."""
    now = core.now()
    return tuple(vm_view(core.world, vm, now) for vm in core.world.vms.values())


def vm_show(core: Core, caller: Caller, ask: verbs.ById) -> verbs.VmView:
    """One VM with its spec."""
    vm = find_vm(core, ask.id)
    view = vm_view(core.world, vm, core.now(), whole=True)
    if caller.owns(vm.owner):
        return view
    # A seed may hold passwords: it is for those who may change the VM.
    return msgspec.structs.replace(view, spec={k: v for k, v in view.spec.items() if k != "cloud_init"})


def vm_delete(core: Core, caller: Caller, ask: verbs.VmDelete) -> Started:
    """Shut down (or destroy), undefine, delete disks."""
    vm = own_vm(core, caller, ask.id)
    state = "destroying" if ask.force else "shutting_down"
    return Started(
        lambda ctx: (requests.on_vm(ctx, "delete", state, caller.name, vm, grace=ask.grace),),
        _waits(core, vm),
    )


def vm_start(core: Core, caller: Caller, ask: verbs.ById) -> Started:
    """Start a VM that is stopped."""
    vm = own_vm(core, caller, ask.id)
    return Started(lambda ctx: (requests.on_vm(ctx, "start", "starting", caller.name, vm),), _waits(core, vm))


def vm_stop(core: Core, caller: Caller, ask: verbs.VmStop) -> Started:
    """Shut a VM down and keep it."""
    vm = own_vm(core, caller, ask.id)
    return Started(
        lambda ctx: (
            requests.on_vm(ctx, "stop", "shutting_down", caller.name, vm, grace=ask.grace, force=ask.force),
        ),
        _waits(core, vm),
    )


def vm_migrate(core: Core, caller: Caller, ask: verbs.VmMigrate) -> Started:
    """Live-migrate a VM."""
    vm = own_vm(core, caller, ask.id)
    to = find_host(core, ask.to, "to") if ask.to is not None else None

    def act(ctx: Context) -> tuple[OperationRecord, ...]:
        return (requests.migrate(ctx, caller.name, vm, to=to, bandwidth=ask.bandwidth),)

    return Started(act)


def vm_adopt(core: Core, caller: Caller, ask: verbs.VmAdopt) -> Started:
    """Take a foreign domain into care."""
    host = find_host(core, ask.host, "host")
    return Started(lambda ctx: (requests.adopt(ctx, caller.name, host, ask.name),))


async def vm_console_log(core: Core, caller: Caller, ask: verbs.VmConsoleLog) -> verbs.ConsoleLogText:
    """The end of a VM's console on its present host."""
    vm = own_vm(core, caller, ask.id)
    if vm.host is None or core.ask_host is None:
        raise Refusal("unavailable", f"{vm.key} is on no host yet")
    order = ConsoleLog(uuid=vm.uuid, name=vm.key, size=ask.size)
    found = decode_spec(await core.ask_host(vm.host, order, 10.0), ConsoleText, "console")
    return verbs.ConsoleLogText(id=vm.spec.id, host=vm.host, text=found.text, total=found.total)


def host_list(core: Core, caller: Caller, ask: verbs.Nothing) -> tuple[verbs.HostView, ...]:
    """All hosts in the order in which they joined."""
    now = core.now()
    fleet = core.world.fleet(now)
    return tuple(host_view(core.world, name, now, fleet) for name in core.world.hosts)


def host_show(core: Core, caller: Caller, ask: verbs.ById) -> verbs.HostView:
    """One host."""
    name, now = find_host(core, ask.id), core.now()
    return host_view(core.world, name, now, core.world.fleet(now))


def op_list(core: Core, caller: Caller, ask: verbs.OpList) -> tuple[verbs.OpView, ...]:
    """Operations, newest first."""
    ops = [op for op in reversed(core.world.operations.values()) if not (ask.open_only and op.done)]
    progress, now = core.engine.progress, core.now()
    return tuple(
        op_view(op, progress.get(op.id), waits_for=queue.told(core.world, op, now), whole=False)
        for op in ops[: ask.limit]
    )


def op_show(core: Core, caller: Caller, ask: verbs.OpShow) -> verbs.OpView:
    """One operation with its history."""
    op = find_operation(core, ask.id)
    waits_for = queue.told(core.world, op, core.now())
    return op_view(op, core.engine.progress.get(op.id), waits_for=waits_for)


def op_cancel(core: Core, caller: Caller, ask: verbs.OpCancel) -> Started:
    """Cancel an operation."""
    op = own_operation(core, caller, ask.id)
    return Started(lambda ctx: (requests.cancel(ctx, caller.name, op),))


def op_retry(core: Core, caller: Caller, ask: verbs.OpRetry) -> Started:
    """Ask again for what an operation did not bring about."""
    op = own_operation(core, caller, ask.id)
    role = again.ROLES[op.kind]
    if not caller.may(role):
        raise Refusal(
            "forbidden",
            f"a {op.kind} needs the role {role}; {caller.name} has the role {caller.role}",
        )
    if op.vm is not None and op.kind != "create" and not op.ok:
        own_vm(core, caller, again.vm_to_retry(core.world.vms, op).key)
    return Started(lambda ctx: (again.retry(ctx, caller.name, op, core.mint_uuid),))


def flush(core: Core, caller: Caller, ask: verbs.Nothing) -> Started:
    """Empty the queue of `delayed`."""
    return Started(queue.flush)


def image_list(core: Core, caller: Caller, ask: verbs.Nothing) -> tuple[verbs.ImageView, ...]:
    """All images."""
    return tuple(image_view(core.world, image) for image in core.world.images.values())


async def image_begin(core: Core, caller: Caller, ask: verbs.ImageBegin) -> verbs.ImageUpload:
    """Announce an image."""
    name = ask.manifest.name
    known = core.world.images.get(name)
    if known is not None and known.manifest != ask.manifest:
        if known.ready:
            raise Refusal("exists", f"name is {name!r}, and an image of that name exists already", "name")
        users = users_of(core.world, name)
        if users:
            raise Refusal("exists", f"image {name} is in use by {users[0].key}", "name")
    if known is None or known.manifest != ask.manifest:
        await durable(core, lambda ctx: ctx.put_image(ImageRecord(manifest=ask.manifest)))
    return verbs.ImageUpload(missing=await asyncio.to_thread(core.files.missing, ask.manifest))


async def image_write(core: Core, caller: Caller, ask: verbs.ImageWrite) -> verbs.ImageWritten:
    """A piece of one of an announced image's files."""
    record = core.world.images.get(ask.name)
    files = record.manifest.files if record is not None else ()
    file = next((file for file in files if file.sha256 == ask.sha256), None)
    if file is None:
        raise Refusal(
            "not_found", f"no file {ask.sha256[:64]} was announced for image {ask.name!r}", "sha256"
        )
    try:
        data = base64.b64decode(ask.data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal("bad_request", "data is not base64", "data") from error
    try:
        size = await asyncio.to_thread(core.files.write, file, ask.offset, data)
    except ImageFileError as error:
        raise Refusal("bad_request", str(error), "offset") from error
    except OSError as error:
        raise Refusal("failed", f"the coordinator could not store the piece: {error}") from error
    return verbs.ImageWritten(size=size)


async def image_finish(core: Core, caller: Caller, ask: verbs.ImageFinish) -> verbs.ImageView:
    """Make an image usable."""
    record = core.world.images.get(ask.name)
    if record is None:
        raise Refusal("not_found", f"name is {ask.name!r}, and no such image was announced", "name")
    missing = await asyncio.to_thread(core.files.missing, record.manifest)
    if missing:
        raise Refusal("bad_request", f"{len(missing)} file(s) of image {ask.name} are not complete", "name")
    ready = msgspec.structs.replace(record, ready=True)
    if ready != record:
        await durable(core, lambda ctx: ctx.put_image(ready))
    return image_view(core.world, ready)


def image_delete(core: Core, caller: Caller, ask: verbs.ById) -> Started:
    """Delete an image that nothing stands on."""
    name = key_of(ask.id)
    return Started(lambda ctx: (requests.delete_image(ctx, caller.name, name),))


async def token_create(core: Core, caller: Caller, ask: verbs.TokenCreate) -> verbs.TokenCreated:
    """Mint a join token."""
    made: list[verbs.TokenCreated] = []

    def act(ctx: Context) -> None:
        token, expires = core.keyring.create_token(ctx, core.server_public, ask.role, ask.name, ask.ttl)
        made.append(verbs.TokenCreated(token=token.encode(), expires=expires))

    await durable(core, act)
    return made[0]


def algorithm_list(core: Core, caller: Caller, ask: verbs.Nothing) -> tuple[verbs.AlgorithmView, ...]:
    """The placement algorithms."""
    default = core.world.settings.algorithm or DEFAULT
    return tuple(
        verbs.AlgorithmView(name=a.name, summary=a.summary, source=a.source, default=a.name == default)
        for a in ALGORITHMS.values()
    )


def export(core: Core, caller: Caller, ask: verbs.Nothing) -> verbs.ClusterExport:
    """The live cluster as a cluster file."""
    return cluster_file(core.world, core.now())


def status(core: Core, caller: Caller, ask: verbs.Nothing) -> verbs.StatusView:
    """The cluster at a glance."""
    world, now = core.world, core.now()
    hosts = host_list(core, caller, ask)
    states = [vm_state(world, vm, now) for vm in world.vms.values()]
    up = [host for host in hosts if host.state == "up"]
    return verbs.StatusView(
        cluster=world.meta.cluster,
        version=protocol.__version__,
        epoch=core.committer.epoch,
        uptime=now.mono - core.started,
        hosts=len(hosts),
        hosts_up=len(up),
        vms=len(states),
        vms_running=states.count("running"),
        cpu_capacity=sum(host.cpu_capacity for host in up),
        cpu_allocated=sum(host.cpu_allocated for host in hosts),
        memory_capacity=sum(host.memory_capacity for host in up),
        memory_allocated=sum(host.memory_allocated for host in hosts),
        open_operations=len(world.open),
        queued=core.committer.queued,
        algorithm=world.settings.algorithm,
        problems=tuple(_problems(core, hosts)),
        host_list=hosts,
        losses=tuple(verbs.LossView(host=loss.host, vms=loss.vms) for loss in world.restarts(now).losses()),
        admission=world.settings.admission.value,
        refused=dict(core.refused),
    )


def _problems(core: Core, hosts: tuple[verbs.HostView, ...]) -> list[str]:
    found = [f"host {host.name} is {host.state}: {host.problem}" for host in hosts if host.problem]
    found += [vm.problem for vm in core.world.vms.values() if vm.problem]
    for name, live in core.world.live.items():
        for domain in live.report.domains if live.report is not None else ():
            if (
                domain.ours
                and domain.uuid not in core.world.by_uuid
                and domain.cluster == core.world.meta.cluster
            ):
                found.append(
                    f"{name} has the domain {domain.name} ({domain.uuid}) of this cluster, "
                    "which is not in the cluster's records"
                )
    return found


def _waits(core: Core, vm: VmRecord) -> tuple[str, ...]:
    if vm.host is None or vm.host not in core.world.hosts:
        return ()
    state, problem = core.world.host_state(vm.host, core.now())
    return (
        () if state.value in ("up", "draining") else (f"{vm.host} is {state.value}: {problem}; this waits",)
    )


Handler = Callable[[Core, Caller, Any], Any | Awaitable[Any]]
