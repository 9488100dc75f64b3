"""A host has every label that the VM asks for."""

from __future__ import annotations

from hpgreedy.model import Demand
from hpgreedy.placement.constraints.case import Case, Constraint
from hpgreedy.placement.decision import Reason, Rejection
from hpgreedy.placement.fleet import Fleet


def reject(case: Case) -> Rejection | None:
    """Reject when a label is missing or has another value."""
    for name, wanted in case.demand.host_labels.items():
        value = case.host.labels.get(name)
        if value != wanted:
            shown = f"it has no {name}" if value is None else f"it has {name}={value}"
            return case.reject(Reason.LABEL, f"needs {name}={wanted}, {shown}")
    return None


def mask(fleet: Fleet, demand: Demand) -> int:
    """Hosts with all of them."""
    found = fleet.everything
    for name, value in demand.host_labels.items():
        found &= fleet.features.label(name, value)
    return found


LABELS = Constraint(reject, mask)
