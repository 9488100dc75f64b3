"""A VM that holds something on a host cannot be placed there once more."""

from __future__ import annotations

from hpgreedy.model import Demand
from hpgreedy.placement.constraints.case import Case, Constraint
from hpgreedy.placement.decision import Reason, Rejection
from hpgreedy.placement.fleet import Fleet


def reject(case: Case) -> Rejection | None:
    """Reject the hosts on which the VM stands or which an open operation holds for it."""
    if case.position not in case.places:
        return None
    return case.reject(Reason.ALREADY_THERE, "it stands there, or an operation holds room there for it")


def mask(fleet: Fleet, demand: Demand) -> int:
    """All others."""
    found = fleet.everything
    for position in fleet.places(demand.key):
        found &= ~(1 << position)
    return found


ALREADY_THERE = Constraint(reject, mask)
