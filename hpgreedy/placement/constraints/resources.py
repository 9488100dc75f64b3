"""Countable resources, such as GPUs, are given out once."""

from __future__ import annotations

from hpgreedy.placement.constraints.case import Case
from hpgreedy.placement.decision import Reason, Rejection


def resources(case: Case) -> Rejection | None:
    """Reject when fewer units of a resource are free than the VM needs."""
    for name, need in case.demand.resources.items():
        offered = case.host.resources.get(name, 0)
        free = offered - case.used.resources.get(name, 0)
        if need > max(free, 0):
            have = max(free, 0)
            shown = f"{have} free of {offered}" if offered else "it has none"
            return case.reject(Reason.RESOURCE, f"needs {need} {name}, {shown}", need, have)
    return None
