"""A VM that holds something on a host cannot be placed there once more."""

from __future__ import annotations

from hpgreedy.placement.constraints.case import Case
from hpgreedy.placement.decision import Reason, Rejection


def already_there(case: Case) -> Rejection | None:
    """Reject the hosts on which the VM stands or which an open operation holds for it."""
    if not case.already:
        return None
    return case.reject(Reason.ALREADY_THERE, "it stands there, or an operation holds room there for it")
