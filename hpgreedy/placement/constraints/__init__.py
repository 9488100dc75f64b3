"""Feasibility: every rule must let a VM pass for a host to take it.

A rule is a function from a `Case` to a `Rejection` or None; it is added in RULES. Rules that no room could
change come first, so that a rejection for want of capacity says that everything else is in order.
"""

from __future__ import annotations

from hpgreedy.model import NOTHING, Cluster, Demand, Host, Used
from hpgreedy.placement.constraints.already_there import already_there
from hpgreedy.placement.constraints.attachments import bridges, networks
from hpgreedy.placement.constraints.case import Case, Rule
from hpgreedy.placement.constraints.cpu import cpu
from hpgreedy.placement.constraints.labels import labels
from hpgreedy.placement.constraints.memory import memory
from hpgreedy.placement.constraints.name_taken import name_taken
from hpgreedy.placement.constraints.named_host import named_host
from hpgreedy.placement.constraints.resources import resources
from hpgreedy.placement.constraints.state import state
from hpgreedy.placement.decision import Rejection

__all__ = [
    "LASTING",
    "PASSING",
    "ROOM",
    "RULES",
    "Case",
    "Rule",
    "check",
    "ever_fits",
    "first_rejection",
    "fits",
]

LASTING: tuple[Rule, ...] = (named_host, labels, bridges, networks)
"""Rules of what a host is: they hold on an empty host too."""
PASSING: tuple[Rule, ...] = (state, already_there, name_taken)
"""Rules of what a host is doing at the moment, apart from its room."""
ROOM: tuple[Rule, ...] = (resources, cpu, memory)
"""Rules of what is free."""
RULES: tuple[Rule, ...] = (*LASTING, *PASSING, *ROOM)


def check(demand: Demand, host: Host, used: Used, *, already: bool = False) -> Rejection | None:
    """The first rule that keeps `demand` off `host` while `used` is held there; None when it fits."""
    return first_rejection(RULES, Case(demand, host, used, already))


def fits(cluster: Cluster, demand: Demand, host: str) -> Rejection | None:
    """The rule that keeps `demand` off `host` as the cluster stands; raises KeyError for unknown hosts."""
    return check(
        demand, cluster.hosts[host], cluster.used(host), already=host in cluster.hosts_of(demand.key)
    )


def ever_fits(demand: Demand, host: Host) -> bool:
    """Whether the host would take the demand if it were up and empty."""
    return first_rejection((*LASTING, *ROOM), Case(demand, host, NOTHING)) is None


def first_rejection(rules: tuple[Rule, ...], case: Case) -> Rejection | None:
    """The answer of the first rule that rejects."""
    for rule in rules:
        rejection = rule(case)
        if rejection is not None:
            return rejection
    return None
