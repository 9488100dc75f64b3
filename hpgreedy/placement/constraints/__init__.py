"""Feasibility: every constraint must let a VM pass for a host to take it.

A constraint is one file, in two forms: for one host with the reason, and for all hosts at once. Those that no
room could change come first, so that a rejection for want of room says that everything else is in order.
"""

from __future__ import annotations

from collections.abc import Callable

from hpgreedy.model import Demand
from hpgreedy.placement.constraints.already_there import ALREADY_THERE
from hpgreedy.placement.constraints.attachments import ACCELERATOR, BRIDGES, CPU_MODEL, NETWORKS, POOL
from hpgreedy.placement.constraints.case import Case, Constraint
from hpgreedy.placement.constraints.groups import GROUPS
from hpgreedy.placement.constraints.hosts import HOSTS
from hpgreedy.placement.constraints.labels import LABELS
from hpgreedy.placement.constraints.name_taken import NAME_TAKEN
from hpgreedy.placement.constraints.named_host import NAMED_HOST
from hpgreedy.placement.constraints.numa import NUMA
from hpgreedy.placement.constraints.room import CPU, MEMORY, RESOURCES, lacking
from hpgreedy.placement.constraints.state import STATE
from hpgreedy.placement.decision import Rejection
from hpgreedy.placement.fleet import Fleet

__all__ = [
    "CONSTRAINTS",
    "LASTING",
    "PASSING",
    "ROOM",
    "Case",
    "Constraint",
    "check",
    "ever_fits",
    "feasible",
    "had_they_room",
    "lacking",
    "rejections_of",
    "roughly",
]

_SELECTED = (LABELS, HOSTS, BRIDGES, NETWORKS, POOL, CPU_MODEL, ACCELERATOR)
"""They depend on `Demand.selector` and on what hosts are: with the hosts' state, the mask is kept for all VMs
that ask the same.
"""
LASTING: tuple[Constraint, ...] = (NAMED_HOST, *_SELECTED)
"""What a host is: these hold on an empty host too."""
PASSING: tuple[Constraint, ...] = (STATE, ALREADY_THERE, NAME_TAKEN, GROUPS)
"""What a host is doing at the moment, apart from its room."""
ROOM: tuple[Constraint, ...] = (RESOURCES, CPU, MEMORY, NUMA)
"""What is free."""
CONSTRAINTS: tuple[Constraint, ...] = (*LASTING, *PASSING, *ROOM)
_KEPT = (STATE, *_SELECTED)
_EACH_TIME = (CPU, MEMORY, RESOURCES, NAMED_HOST, ALREADY_THERE, NAME_TAKEN, GROUPS, NUMA)
_EXACT = tuple(constraint.mask for constraint in _EACH_TIME)
_ROUGH = tuple(constraint.rough or constraint.mask for constraint in _EACH_TIME)
SELECTORS_KEPT = 1024


def feasible(fleet: Fleet, demand: Demand) -> int:
    """The mask of the hosts that take the demand as things stand; with NUMA it may hold hosts too many."""
    return _all(fleet, demand, _EXACT)


def roughly(fleet: Fleet, demand: Demand) -> int:
    """A mask that is found sooner and may hold hosts too many; `lacking` tells which."""
    return _all(fleet, demand, _ROUGH)


def _all(fleet: Fleet, demand: Demand, masks: tuple[Callable[[Fleet, Demand], int], ...]) -> int:
    found = fleet.eligible.get(demand.selector)
    if found is None:
        found = fleet.everything
        for constraint in _KEPT:
            found &= constraint.mask(fleet, demand)
        if len(fleet.eligible) >= SELECTORS_KEPT:
            fleet.eligible.clear()
        fleet.eligible[demand.selector] = found
    everything = fleet.everything
    for mask in masks:
        if not found:
            break
        those = mask(fleet, demand)
        if those is not everything:
            found &= those
    return found


def had_they_room(fleet: Fleet, demand: Demand) -> int:
    """The mask of the hosts that would take the demand if only they had the room."""
    found = fleet.everything
    for constraint in (*LASTING, *PASSING):
        found &= constraint.mask(fleet, demand)
    return found


def check(fleet: Fleet, demand: Demand, position: int) -> Rejection | None:
    """The first constraint that keeps `demand` off the host; None when it fits."""
    case = Case(fleet, demand, position)
    for constraint in CONSTRAINTS:
        rejection = constraint.reject(case)
        if rejection is not None:
            return rejection
    return None


def rejections_of(
    fleet: Fleet, demand: Demand, position: int, constraints: tuple[Constraint, ...], *, empty: bool = False
) -> list[Rejection]:
    """What each of the constraints that the host does not keep says."""
    case = Case(fleet, demand, position, empty)
    found = (constraint.reject(case) for constraint in constraints)
    return [rejection for rejection in found if rejection is not None]


def ever_fits(fleet: Fleet, demand: Demand, position: int) -> bool:
    """Whether the host would take the demand if it were up and empty."""
    return not rejections_of(fleet, demand, position, (*LASTING, *ROOM), empty=True)
