"""A host cannot have two domains of one name, and a foreign one is never touched."""

from __future__ import annotations

from hpgreedy.placement.constraints.case import Case
from hpgreedy.placement.decision import Reason, Rejection


def name_taken(case: Case) -> Rejection | None:
    """Reject a host on which a foreign domain has the VM's name."""
    if case.demand.key not in case.host.names_taken:
        return None
    return case.reject(Reason.NAME_TAKEN, f"a domain that is not ours is named {case.demand.key} there")
