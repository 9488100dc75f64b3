"""Only a host that is up takes VMs."""

from __future__ import annotations

from hpgreedy.model import Demand, HostState
from hpgreedy.placement.constraints.case import Case, Constraint
from hpgreedy.placement.decision import Reason, Rejection
from hpgreedy.placement.fleet import Fleet


def reject(case: Case) -> Rejection | None:
    """Reject a draining, unreachable or down host."""
    if case.host.state is HostState.UP:
        return None
    problem = f" ({case.host.problem})" if case.host.problem else ""
    return case.reject(Reason.STATE, f"it is {case.host.state}{problem}")


def mask(fleet: Fleet, demand: Demand) -> int:
    """Hosts that are up."""
    return fleet.up


STATE = Constraint(reject, mask)
