"""What each answer looks like as a table; pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from hpgreedy.client.grid import Grid
from hpgreedy.client.units import bar, duration, memory, size, used
from protocol.verbs import (
    AlgorithmView,
    ForeignDomain,
    HostView,
    ImageView,
    LossView,
    OpStep,
    OpView,
    PlacementView,
    StatusView,
    VmView,
)

VM_HEADS = ("VM", "HOST", "STATE", "CPU", "MEMORY", "USED", "LOAD", "MAC", "NOTE")
HOST_HEADS = ("HOST", "STATE", "CPU", "MEMORY", "LOAD", "VMS", "KIND", "ADDRESS", "NOTE")
OP_HEADS = ("OP", "KIND", "VM", "STATE", "FROM", "TO", "AGE", "NOTE")
MOST_LISTED = 8
"""VMs of a host at risk, and such hosts, that the status shows."""
IMAGE_HEADS = ("IMAGE", "STATE", "DISK", "FILES", "HOSTS", "USED BY", "DEFAULT")


def vm_table(vms: Sequence[VmView]) -> Grid:
    """VMs, one a line."""
    return Grid(VM_HEADS, tuple(_vm_row(vm) for vm in vms), "There are no VMs.")


def _vm_row(vm: VmView) -> tuple[str, ...]:
    return (
        str(vm.id),
        vm.host or "-",
        vm.state,
        str(vm.cpu),
        memory(vm.memory),
        memory(vm.memory_used) if vm.memory_used else "-",
        "-" if vm.cpu_percent is None else f"{vm.cpu_percent:.0f}%",
        ",".join(vm.macs) or "-",
        vm.problem or vm.waits_for or ("" if vm.operation is None else f"operation {vm.operation}"),
    )


def vm_facts(vm: VmView) -> Grid:
    """One VM with all that is known of it."""
    return _facts(
        ("VM", str(vm.id)),
        ("UUID", vm.uuid),
        ("state", vm.state if vm.state == vm.desired else f"{vm.state} (wanted: {vm.desired})"),
        ("problem", vm.problem),
        ("host", vm.host or "none yet"),
        ("waits", vm.waits_for),
        ("why there", vm.why_here),
        ("next would be", vm.runner_up or ""),
        *(("rule", rule) for rule in vm.rules),
        ("CPU model", vm.cpu_model or ""),
        ("NUMA nodes", ", ".join(str(node) for node in vm.numa_nodes)),
        ("CPU", f"{vm.cpu} (can grow to {vm.max_cpu})"),
        ("memory", f"{memory(vm.memory)} (can grow to {memory(vm.max_memory)})"),
        ("memory used", memory(vm.memory_used) if vm.memory_used else ""),
        ("load", "" if vm.cpu_percent is None else f"{vm.cpu_percent:.1f}% of a CPU"),
        ("image", vm.image or ""),
        ("MAC", ", ".join(vm.macs)),
        ("owner", vm.owner),
        ("labels", _labels(vm.labels)),
        ("pinned", "yes" if vm.pinned else ""),
        ("operation", "" if vm.operation is None else str(vm.operation)),
        ("created", _time(vm.created)),
    )


def placement_tables(placements: Sequence[PlacementView]) -> tuple[Grid, ...]:
    """Where VMs would go, and what would be moved before."""
    rows = tuple(
        (
            str(each.vm),
            each.host,
            ",".join(str(node) for node in each.numa_nodes) or "-",
            each.runner_up or "-",
            each.why,
        )
        for each in placements
    )
    moves = tuple(
        (
            str(move.vm),
            move.source,
            move.target,
            memory(move.memory) + (" and its disks" if move.copy else ""),
            f"makes room for {each.vm}",
        )
        for each in placements
        for move in each.moves
    )
    found = Grid(("VM", "HOST", "NUMA", "NEXT", "WHY"), rows)
    return (found, Grid(("MOVED FIRST", "FROM", "TO", "MEMORY", "WHY"), moves)) if moves else (found,)


def host_table(hosts: Sequence[HostView], bars: bool = False) -> Grid:
    """Hosts, one a line; `bars` draws how full they are."""
    return Grid(HOST_HEADS, tuple(_host_row(host, bars) for host in hosts), "There are no hosts.")


def _host_row(host: HostView, bars: bool) -> tuple[str, ...]:
    cpu = used(host.cpu_allocated, host.cpu_capacity)
    mem = used(host.memory_allocated, host.memory_capacity, "memory")
    if bars:
        cpu = f"{bar(host.cpu_allocated, host.cpu_capacity)} {cpu.partition(' ')[0]}"
        mem = f"{bar(host.memory_allocated, host.memory_capacity)} {mem.partition(' ')[0]}"
    return (
        host.name, host.state, cpu, mem, f"{host.cpu_percent:.0f}%", str(host.vms), host.accelerator,
        host.address, host.problem,
    )  # fmt: skip


def host_facts(host: HostView, now: float) -> Grid:
    """One host with all that is known of it; `now` in seconds since the epoch."""
    last = "never" if host.last_report is None else f"{duration(now - host.last_report)} ago"
    return _facts(
        ("host", host.name),
        ("id", host.id),
        ("state", host.state),
        ("problem", host.problem),
        ("address", host.address),
        ("CPU given out", f"{used(host.cpu_allocated, host.cpu_capacity)}, offers {host.cpu}"),
        (
            "memory given out",
            f"{used(host.memory_allocated, host.memory_capacity, 'memory')}, offers {memory(host.memory)}",
        ),
        ("overcommit", f"CPU x{host.cpu_overcommit:g}, memory x{host.memory_overcommit:g}"),
        ("load", f"CPU {host.cpu_percent:.0f}%, memory {memory(host.memory_used)}"),
        ("VMs", ", ".join(str(vm) for vm in host.vm_ids) or "none"),
        ("hypervisor", f"{host.hypervisor} ({host.hypervisor_uuid})"),
        ("guests run by", f"{host.accelerator}: {host.accelerator_reason}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in sorted(host.versions.items()))),
        *((name, state) for name, state in sorted(host.guards.items())),
        ("labels", _labels(host.labels)),
        ("resources", ", ".join(f"{name} {count}" for name, count in sorted(host.resources.items()))),
        ("pools", ", ".join(f"{pool.get('name', '?')} at {pool.get('path', '?')}" for pool in host.pools)),
        ("networks", ", ".join((*host.networks, *host.bridges))),
        ("migration", host.migrate_uri),
        ("last report", last),
        ("other domains", ", ".join(_foreign(domain) for domain in host.foreign)),
    )


def _foreign(domain: ForeignDomain) -> str:
    return f"{domain.name} ({domain.state})"


def op_table(ops: Sequence[OpView], now: float) -> Grid:
    """Operations, one a line; `now` in seconds since the epoch."""
    rows = tuple(
        (
            str(op.id),
            op.kind,
            "-" if op.vm is None else str(op.vm),
            op_state(op),
            op.source or "-",
            op.target or "-",
            duration(now - op.created),
            op.error or op.waits_for or op.why,
        )
        for op in ops
    )
    return Grid(OP_HEADS, rows, "There are no operations.")


def op_facts(op: OpView) -> Grid:
    """One operation with its history."""
    outcome = op.outcome
    return _facts(
        ("operation", str(op.id)),
        ("kind", op.kind),
        ("VM", "" if op.vm is None else str(op.vm)),
        ("state", op_state(op)),
        ("error", op.error),
        ("from", op.source or ""),
        ("to", op.target or ""),
        ("waits", op.waits_for),
        ("why", op.why),
        ("owner", op.owner),
        ("progress", progress_text(op) if not op.done else ""),
        ("took", f"{outcome['total_ms'] / 1000:.2f}s" if "total_ms" in outcome else ""),
        ("downtime", f"{outcome['downtime_ms']}ms" if "downtime_ms" in outcome else ""),
        ("transferred", size(outcome["transferred"]) if "transferred" in outcome else ""),
        ("part of", "" if op.parent is None else f"operation {op.parent}"),
        ("retry of", "" if op.retry_of is None else f"operation {op.retry_of}"),
        ("cancelled by", op.cancelled_by),
        ("waits for", ", ".join(str(child) for child in op.children)),
        *((_time(step.at), _step(step)) for step in op.history),
    )


def _step(step: OpStep) -> str:
    text = f"{step.state}: {step.note}" if step.note else step.state
    text += f" ({step.count} times)" if step.count > 1 else ""
    return f"{text} (by {step.by})" if step.by else text


def op_state(op: OpView) -> str:
    """The state in one word: how an ended operation ended, else where it stands."""
    return "done" if op.ok else op.state


def progress_text(op: OpView) -> str:
    """How far a live migration is: percent, MiB/s, what remains, the dirty rate; empty when unknown."""
    now = op.progress
    if now is None or not now.total:
        return ""
    done = 100 * (1 - now.remaining / now.total) if now.remaining else 100 * now.processed / now.total
    return (
        f"{min(100.0, max(0.0, done)):.0f}%  {now.bandwidth / 2**20:.1f}MiB/s  "
        f"{size(now.remaining)} remaining  {now.dirty_rate / 2**20:.1f}MiB/s dirtied"
    )


def image_table(images: Sequence[ImageView]) -> Grid:
    """Images, one a line."""
    rows = tuple(
        (
            image.name,
            image.state,
            "-" if image.virtual_size is None else memory(image.virtual_size),
            ", ".join(f"{file.get('role', '?')} {size(file.get('size', 0))}" for file in image.files),
            ",".join(image.hosts) or "-",
            ",".join(str(vm) for vm in image.used_by) or "-",
            "yes" if image.default else "",
        )
        for image in images
    )
    return Grid(IMAGE_HEADS, rows, "There are no images.")


def algorithm_table(algorithms: Sequence[AlgorithmView]) -> Grid:
    """Placement algorithms, one a line."""
    rows = tuple((a.name, "yes" if a.default else "", a.source, a.summary) for a in algorithms)
    return Grid(("ALGORITHM", "DEFAULT", "FROM", "WHAT IT DOES"), rows, "There are no algorithms.")


def status_facts(status: StatusView) -> Grid:
    """The cluster at a glance."""
    return _facts(
        ("cluster", f"{status.cluster}, version {status.version}, up {duration(status.uptime)}"),
        ("hosts", f"{status.hosts_up} of {status.hosts} up"),
        ("VMs", f"{status.vms_running} of {status.vms} running"),
        ("CPU given out", used(status.cpu_allocated, status.cpu_capacity)),
        ("memory given out", used(status.memory_allocated, status.memory_capacity, "memory")),
        ("operations", f"{status.open_operations} open, {status.queued} waiting for room"),
        ("algorithm", status.algorithm),
        ("admission", "" if status.admission == "off" else status.admission),
        (
            "turned away",
            ", ".join(f"{count} {reason}" for reason, count in sorted(status.refused.items()) if count),
        ),
        *(("problem", problem) for problem in status.problems),
        *(("at risk", text) for text in _losses(status.losses)),
    )


def _losses(losses: Sequence[LossView]) -> list[str]:
    """What the death of each host would cost, for the first hosts."""
    told = [
        f"if host {loss.host} dies, these VMs cannot be restarted: {', '.join(loss.vms[:MOST_LISTED])}"
        + (f" and {len(loss.vms) - MOST_LISTED} more" if len(loss.vms) > MOST_LISTED else "")
        for loss in losses[:MOST_LISTED]
    ]
    left = len(losses) - MOST_LISTED
    return [*told, f"the same holds for {left} more hosts (--json lists all)"] if left > 0 else told


def _facts(*pairs: tuple[str, str]) -> Grid:
    return Grid((), tuple(pair for pair in pairs if pair[1]))


def _labels(labels: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))


def _time(at: float) -> str:
    return "" if not at else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
