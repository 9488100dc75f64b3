"""A VM that names its host starts there and nowhere else."""

from __future__ import annotations

from hpgreedy.placement.constraints.case import Case
from hpgreedy.placement.decision import Reason, Rejection


def named_host(case: Case) -> Rejection | None:
    """Reject every host but the one that the VM names."""
    wanted = case.demand.wanted_host
    if wanted is None or wanted == case.host.key:
        return None
    return case.reject(Reason.NAMED_HOST, f"it must start on {wanted}")
