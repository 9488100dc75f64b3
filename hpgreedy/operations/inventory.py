"""The inventory: what hosts report, compared with what the cluster believes."""

from __future__ import annotations

import msgspec

from hpgreedy.operations.context import Context
from hpgreedy.operations.records import VmRecord
from hpgreedy.operations.world import World
from protocol.messages import DomainReport, Report


def compare(ctx: Context, host: str, report: Report, only: str | None = None) -> None:
    """Follow reality for VMs that no operation has hold of, and say what differs from what is wanted.

    `only` limits it to one domain's uuid. Nothing is started, stopped or deleted here: a VM that is not as
    desired is shown as such.
    """
    world, by_uuid = ctx.world, {domain.uuid: domain for domain in report.domains}
    keys = dict.fromkeys(world.on_host.get(host, ()))
    keys.update((world.by_uuid[uuid], None) for uuid in by_uuid if uuid in world.by_uuid)
    for vm in [world.vms[key] for key in keys]:
        if vm.operation is not None or not vm.made or (only is not None and vm.uuid != only):
            continue
        if world.settling(vm, ctx.now):
            continue
        domain = by_uuid.get(vm.uuid)
        if vm.host == host:
            _check_here(ctx, vm, domain, host)
        elif domain is not None and domain.state == "running":
            _check_elsewhere(ctx, vm, host)


def foreign(world: World, host: str) -> list[DomainReport]:
    """The domains on a host that are none of this cluster's VMs."""
    return [found for found in world.live_of(host).domains.values() if found.uuid not in world.by_uuid]


def _check_here(ctx: Context, vm: VmRecord, domain: DomainReport | None, host: str) -> None:
    problem = _problem(vm, domain, host)
    if problem == vm.problem:
        return
    ctx.put_vm(msgspec.structs.replace(vm, problem=problem))
    if problem:
        ctx.alarm(problem)


def _problem(vm: VmRecord, domain: DomainReport | None, host: str) -> str:
    if domain is None:
        return f"{vm.key} is missing: {host} no longer knows its domain {vm.uuid}"
    if vm.desired == "running" and domain.state in ("shutoff", "crashed"):
        how = "crashed" if domain.state == "crashed" else "was shut off"
        return f"{vm.key} {how} on {host} without being asked to; `vm start {vm.key}` starts it again"
    if vm.desired == "stopped" and domain.state == "running":
        return f"{vm.key} runs on {host} though it was stopped here; `vm stop {vm.key}` stops it"
    return ""


def _check_elsewhere(ctx: Context, vm: VmRecord, host: str) -> None:
    """A running domain of ours on another host: somebody moved it by hand, or it runs twice."""
    assert vm.host is not None
    at_home = ctx.world.live_of(vm.host)
    if at_home.report is None or not ctx.world.heard_lately(vm.host, ctx.now):
        problem = f"{vm.key} runs on {host}, and its own host {vm.host} is silent: it may run twice"
    elif ctx.world.runs(vm):
        problem = f"{vm.key} runs on both {vm.host} and {host}: stop one of them with virsh at once"
    else:
        why = f"it was moved from {vm.host} to {host} outside the cluster's care"
        ctx.alarm(f"{vm.key}: {why}; the cluster follows")
        moved = msgspec.structs.replace(
            vm, host=host, numa_nodes=(), why_here=why, runner_up=None, problem=""
        )
        ctx.put_vm(moved)
        return
    if problem != vm.problem:
        ctx.alarm(problem)
        ctx.put_vm(msgspec.structs.replace(vm, problem=problem))
