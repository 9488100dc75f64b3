"""A VM that names its host starts there and nowhere else."""

from __future__ import annotations

from hpgreedy.model import Demand
from hpgreedy.placement.constraints.case import Case, Constraint
from hpgreedy.placement.decision import Reason, Rejection
from hpgreedy.placement.fleet import Fleet


def reject(case: Case) -> Rejection | None:
    """Reject every host but the one that the VM names."""
    wanted = case.demand.wanted_host
    if wanted is None or wanted == case.host.key:
        return None
    return case.reject(Reason.NAMED_HOST, f"it must start on {wanted}")


def mask(fleet: Fleet, demand: Demand) -> int:
    """That host alone."""
    if demand.wanted_host is None:
        return fleet.everything
    position = fleet.position.get(demand.wanted_host)
    return 0 if position is None else 1 << position


NAMED_HOST = Constraint(reject, mask)
