"""A VM that asks for it fits inside its number of NUMA nodes, evenly."""

from __future__ import annotations

from hpgreedy.model import Demand
from hpgreedy.placement.constraints.case import Case, Constraint
from hpgreedy.placement.decision import Reason, Rejection
from hpgreedy.placement.fleet import Fleet
from hpgreedy.placement.words import count, size


def reject(case: Case) -> Rejection | None:
    """Reject a host on which too few nodes have room for the VM's share."""
    wanted = case.demand.numa
    if not wanted:
        return None
    nodes = case.nodes
    if nodes is None or not nodes.capacity:
        return case.reject(Reason.NUMA, f"needs {count(wanted, 'NUMA node')}, it has none to tell", wanted, 0)
    if nodes.place(case.demand) is not None:
        return None
    share = case.demand.numa_share
    fitting = sum(
        1 for cpu, mib in zip(nodes.cpu, nodes.memory, strict=True) if cpu >= share[0] and mib >= share[1]
    )
    detail = (
        f"needs {size(*share)} on each of {count(wanted, 'NUMA node')}, {fitting} of {len(nodes.cpu)} have it"
    )
    return case.reject(Reason.NUMA, detail, wanted, fitting)


def mask(fleet: Fleet, demand: Demand) -> int:
    """Hosts on which enough nodes have the vCPUs, and enough the memory; maybe not the same ones."""
    if not demand.numa:
        return fleet.everything
    cpu, memory = demand.numa_share
    cpus, mibs = fleet.numa_columns(demand.numa)
    return fleet.with_nodes & cpus.at_least(cpu) & mibs.at_least(memory)


NUMA = Constraint(reject, mask)
