"""A host gives out no more vCPUs than its CPUs times its overcommit."""

from __future__ import annotations

from hpgreedy.placement.constraints.case import Case
from hpgreedy.placement.decision import Reason, Rejection


def cpu(case: Case) -> Rejection | None:
    """Reject when fewer vCPUs are free than the VM needs."""
    free = case.host.cpu_capacity - case.used.cpu
    if case.demand.cpu <= free:
        return None
    shown = max(int(free), 0)
    detail = f"needs {case.demand.cpu}, {shown} free of {case.host.cpu_capacity:g}"
    return case.reject(Reason.CPU, detail, case.demand.cpu, shown)
