"""Why no host takes a VM, and what would fit instead, in one sentence."""

from __future__ import annotations

import math

from hpgreedy.model import Demand
from hpgreedy.placement.algorithms import Algorithm
from hpgreedy.placement.constraints import check, ever_fits
from hpgreedy.placement.decision import CAPACITY, NotPlaced, Reason, Rejection
from hpgreedy.placement.fleet import CPU, MEMORY, Fleet
from hpgreedy.placement.makeroom import Search
from hpgreedy.placement.words import amount, count, size, some


def refuse(fleet: Fleet, demand: Demand, algorithm: Algorithm, searched: Search | None) -> NotPlaced:
    """The explained refusal; it claims no more than what was searched."""
    rejections = tuple(
        rejection
        for position, _ in fleet.standing_hosts()
        if (rejection := check(fleet, demand, position)) is not None
    )
    largest = largest_fit(fleet, demand, rejections)
    ever = any(ever_fits(fleet, demand, position) for position, _ in fleet.standing_hosts())
    return NotPlaced(
        rejections=rejections,
        why=_sentence(demand, rejections, searched, largest, ever),
        largest=largest,
        ever=ever,
        algorithm=algorithm.name,
    )


def largest_fit(
    fleet: Fleet, demand: Demand, rejections: tuple[Rejection, ...]
) -> tuple[str, int, int] | None:
    """Host, vCPUs and MiB of the largest VM of the demand's needs that would fit now.

    The largest is the one that comes nearest to the demand: whose scarcer of vCPUs and memory is the
    greater share of what was asked for; then more memory, more vCPUs, the earlier host.
    """
    best: tuple[tuple[float, int, int], str] | None = None
    for rejection in rejections:
        if rejection.reason not in (Reason.CPU, Reason.MEMORY):
            continue
        position = fleet.position[rejection.host]
        cpu, memory = (fleet.columns[row].values[position] for row in (CPU, MEMORY))
        if cpu < min(1, demand.cpu) or memory < min(1, demand.memory):
            continue
        rank = (min(_share(cpu, demand.cpu), _share(memory, demand.memory)), memory, cpu)
        if best is None or rank > best[0]:
            best = (rank, rejection.host)
    return None if best is None else (best[1], best[0][2], best[0][1])


def _share(have: int, need: int) -> float:
    return have / need if need else math.inf


def _sentence(
    demand: Demand,
    rejections: tuple[Rejection, ...],
    searched: Search | None,
    largest: tuple[str, int, int] | None,
    ever: bool,
) -> str:
    if not rejections:
        return "no host is registered"
    short = any(rejection.reason in CAPACITY for rejection in rejections)
    if demand.wanted_host is not None:
        text, shown = _of_named_host(rejections, demand.wanted_host), []
    else:
        text = _head(demand, rejections)
        shown = [each for each in rejections if largest is None or each.host != largest[0]]
    if short and not ever:
        text += ", and it would not fit on an empty host"
    elif short and searched is not None:
        text += f", and {_searched(searched)}"
    if largest is not None:
        text += f": the largest that would fit now is {size(*largest[1:])} on {largest[0]}"
    return f"{text} ({some([each.sentence() for each in shown])})" if shown else text


def _searched(search: Search) -> str:
    moves = "no single live migration" if search.depth == 1 else f"no chain of {search.depth} live migrations"
    return f"{moves} would make room" if search.complete else f"{moves} was found in time to make room"


def _of_named_host(rejections: tuple[Rejection, ...], wanted: str) -> str:
    found = next((each for each in rejections if each.host == wanted), None)
    if found is None:
        return f"it must start on {wanted}, and no host of that name is registered"
    words = found.reason.value.replace("_", " ")
    return f"it must start on {wanted}, which does not take it: {words}: {found.detail}"


def _head(demand: Demand, rejections: tuple[Rejection, ...]) -> str:
    reasons = {rejection.reason for rejection in rejections}
    if len(reasons) > 1:
        return f"no host takes {size(demand.cpu, demand.memory)} now"
    reason = next(iter(reasons))
    heads = {
        Reason.CPU: f"no host has {count(demand.cpu, 'cpu')} free",
        Reason.MEMORY: f"no host has {amount(demand.memory)} free",
        Reason.RESOURCE: f"no host has {_listed(demand.resources, ' ')} free",
        Reason.LABEL: f"no host has the labels {_listed(demand.host_labels, '=')}",
        Reason.STATE: "no host is up",
        Reason.ALREADY_THERE: "there is no other host",
        Reason.NAME_TAKEN: f"every host has a domain named {demand.key} that is not ours",
        Reason.BRIDGE: f"no host has the bridges {', '.join(sorted(demand.bridges))}",
        Reason.POOL: f"no host has the storage pool {demand.pool}",
        Reason.CPU_MODEL: f"no host offers the CPU model {demand.cpu_model}",
        Reason.NUMA: f"no host has {count(demand.numa, 'NUMA node')} with room for its share",
        Reason.NEAR: "no host is one that it must be near",
        Reason.AVOID: "every host is one that it must avoid",
        Reason.APART: "every host has a VM that it must be kept apart from",
        Reason.TOGETHER: "no host is the place where its group stands",
        Reason.NETWORK: f"no host has the networks {', '.join(sorted(demand.networks))}",
    }
    return heads[reason]


def _listed(items: dict[str, int] | dict[str, str], between: str) -> str:
    return ", ".join(
        f"{value}{between}{name}" if between == " " else f"{name}{between}{value}"
        for name, value in items.items()
    )
