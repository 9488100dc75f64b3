"""A host gives out no more vCPUs, memory and countable resources than it may."""

from __future__ import annotations

from hpgreedy.model import Demand
from hpgreedy.placement.constraints.case import Case, Constraint
from hpgreedy.placement.decision import Reason, Rejection
from hpgreedy.placement.fleet import CPU as CPU_ROW
from hpgreedy.placement.fleet import MEMORY as MEMORY_ROW
from hpgreedy.placement.fleet import Fleet
from hpgreedy.placement.words import amount


def reject_cpu(case: Case) -> Rejection | None:
    """Reject when fewer vCPUs are free than the VM needs."""
    free, need = case.free_cpu, case.demand.cpu
    if need <= free:
        return None
    shown = max(free, 0)
    return case.reject(Reason.CPU, f"needs {need}, {shown} free of {case.host.cpu_capacity}", need, shown)


def reject_memory(case: Case) -> Rejection | None:
    """Reject when less memory is free than the VM needs."""
    free, need = case.free_memory, case.demand.memory
    if need <= free:
        return None
    shown = max(free, 0)
    detail = f"needs {amount(need)}, {amount(shown)} free of {amount(case.host.memory_capacity)}"
    return case.reject(Reason.MEMORY, detail, need, shown)


def reject_resources(case: Case) -> Rejection | None:
    """Reject when fewer units of a resource are free than the VM needs."""
    for name, need in case.demand.resources.items():
        offered, free = case.host.resources.get(name, 0), case.free(name)
        if need > max(free, 0):
            have = max(free, 0)
            shown = f"{have} free of {offered}" if offered else "it has none"
            return case.reject(Reason.RESOURCE, f"needs {need} {name}, {shown}", need, have)
    return None


def mask_cpu(fleet: Fleet, demand: Demand) -> int:
    """Hosts with the vCPUs free."""
    return fleet.columns[CPU_ROW].at_least(demand.cpu)


def mask_memory(fleet: Fleet, demand: Demand) -> int:
    """Hosts with the memory free."""
    return fleet.columns[MEMORY_ROW].at_least(demand.memory)


def mask_resources(fleet: Fleet, demand: Demand) -> int:
    """Hosts with the units of every resource free."""
    found = fleet.everything
    for name, need in demand.resources.items():
        if need:
            found &= fleet.with_at_least(name, need)
    return found


def rough_cpu(fleet: Fleet, demand: Demand) -> int:
    """Those and some with fewer."""
    return fleet.columns[CPU_ROW].about(demand.cpu)


def rough_memory(fleet: Fleet, demand: Demand) -> int:
    """Those and some with less."""
    return fleet.columns[MEMORY_ROW].about(demand.memory)


def rough_resources(fleet: Fleet, demand: Demand) -> int:
    """Those and some with fewer of some resource."""
    found = fleet.everything
    for name, need in demand.resources.items():
        if need:
            found &= fleet.with_about(name, need)
    return found


def lacking(fleet: Fleet, demand: Demand, position: int) -> tuple[int, int] | None:
    """The first quantity of which the host has too little free: its row and what is needed of it."""
    columns = fleet.columns
    if columns[CPU_ROW].values[position] < demand.cpu:
        return CPU_ROW, demand.cpu
    if columns[MEMORY_ROW].values[position] < demand.memory:
        return MEMORY_ROW, demand.memory
    for name, need in demand.resources.items():
        if need and columns[fleet.row[name]].values[position] < need:
            return fleet.row[name], need
    return None


CPU = Constraint(reject_cpu, mask_cpu, rough_cpu)
MEMORY = Constraint(reject_memory, mask_memory, rough_memory)
RESOURCES = Constraint(reject_resources, mask_resources, rough_resources)
