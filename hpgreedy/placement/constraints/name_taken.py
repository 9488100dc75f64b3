"""A host cannot have two domains of one name, and a foreign one is never touched."""

from __future__ import annotations

from hpgreedy.model import Demand
from hpgreedy.placement.constraints.case import Case, Constraint
from hpgreedy.placement.decision import Reason, Rejection
from hpgreedy.placement.fleet import Fleet


def reject(case: Case) -> Rejection | None:
    """Reject a host on which a foreign domain has the VM's name."""
    if case.demand.key not in case.host.names_taken:
        return None
    return case.reject(Reason.NAME_TAKEN, f"a domain that is not ours is named {case.demand.key} there")


def mask(fleet: Fleet, demand: Demand) -> int:
    """Hosts without one."""
    taken = fleet.features.foreign(demand.key)
    return fleet.everything & ~taken if taken else fleet.everything


NAME_TAKEN = Constraint(reject, mask)
