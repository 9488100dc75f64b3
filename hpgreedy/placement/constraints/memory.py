"""A host gives out no more memory than it has times its overcommit."""

from __future__ import annotations

from hpgreedy.placement.constraints.case import Case
from hpgreedy.placement.decision import Reason, Rejection
from hpgreedy.placement.words import amount


def memory(case: Case) -> Rejection | None:
    """Reject when less memory is free than the VM needs."""
    free = case.host.memory_capacity - case.used.memory
    if case.demand.memory <= free:
        return None
    shown = max(int(free), 0)
    detail = (
        f"needs {amount(case.demand.memory)}, "
        f"{amount(shown)} free of {amount(int(case.host.memory_capacity))}"
    )
    return case.reject(Reason.MEMORY, detail, case.demand.memory, shown)
