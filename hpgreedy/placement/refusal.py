"""Why no host takes a VM, and what would fit instead, in one sentence."""

from __future__ import annotations

import math

import numpy as np

from hpgreedy.model import Demand
from hpgreedy.placement.algorithms import Algorithm
from hpgreedy.placement.constraints import ever_fits
from hpgreedy.placement.decision import CAPACITY, NotPlaced, Reason, Rejection
from hpgreedy.placement.explain.classes import rejections
from hpgreedy.placement.explain.obstacles import Obstacle, Sorted, lasting, obstacles, sort
from hpgreedy.placement.fleet import CPU, MEMORY, Fleet, lowest
from hpgreedy.placement.fleet.masks import as_array
from hpgreedy.placement.fleet.numa import Nodes
from hpgreedy.placement.makeroom import Search
from hpgreedy.placement.unknown import unknown_names
from hpgreedy.placement.words import amount, count, size, some
from protocol.explanation import Searched


def refuse(fleet: Fleet, demand: Demand, algorithm: Algorithm, searched: Search | None) -> NotPlaced:
    """The refusal in short; it claims no more than what was searched, and costs little on many hosts."""
    every = obstacles(fleet, demand)
    found = sort(fleet, demand, every)
    rejected = rejections(fleet, demand, found)
    largest = largest_fit(fleet, demand, found)
    ever = _ever(fleet, demand, every)
    looked = None if searched is None else Searched(depth=searched.depth, complete=searched.complete)
    return NotPlaced(
        rejections=rejected,
        why=_unknown(fleet, demand) or _sentence(demand, rejected, looked, largest, ever),
        largest=largest,
        ever=ever,
        searched=looked,
        algorithm=algorithm.name,
    )


def largest_fit(fleet: Fleet, demand: Demand, found: Sorted) -> tuple[str, int, int] | None:
    """Host, vCPUs and MiB of the largest VM of the demand's needs that would fit now.

    The largest is the one that comes nearest to the demand: whose scarcer of vCPUs and memory is the
    greater share of what was asked for; then more memory, more vCPUs, the earlier host.
    """
    short = 0
    for each, mask in found.classes:
        if each.reason in (Reason.CPU, Reason.MEMORY, Reason.NUMA):
            short |= mask
    if demand.numa:
        short &= fleet.with_nodes
    if not short:
        return None
    where = as_array(short)
    cpu, memory = (fleet.columns[row].array[where] for row in (CPU, MEMORY))
    if demand.numa:
        cpus, mibs = (column.array[where] * demand.numa for column in fleet.numa_columns(demand.numa))
        cpu, memory = np.minimum(cpu, cpus), np.minimum(memory, mibs)
    least = (max(demand.numa, 1) if demand.cpu else 0), min(1, demand.memory)
    useful = (cpu >= least[0]) & (memory >= least[1])
    where, cpu, memory = where[useful], cpu[useful], memory[useful]
    share = np.minimum(_shares(cpu, demand.cpu), _shares(memory, demand.memory))
    order = np.lexsort((where, -cpu, -memory, -share)).tolist()
    if not order:
        return None
    if demand.numa:
        return _largest_in_nodes(
            fleet, demand, [(int(where[n]), int(cpu[n]), int(memory[n])) for n in order], least
        )
    first = order[0]
    return fleet.hosts[int(where[first])].key, int(cpu[first]), int(memory[first])


def _largest_in_nodes(
    fleet: Fleet, demand: Demand, bounds: list[tuple[int, int, int]], least: tuple[int, int]
) -> tuple[str, int, int] | None:
    """The same inside NUMA nodes. bounds: position, the vCPUs and MiB it has at most, best first."""
    best: tuple[int, tuple[int, int]] | None = None
    for position, cpu, memory in bounds:
        if best is not None and _nearness((cpu, memory), demand) <= _nearness(best[1], demand):
            break
        fit = _in_nodes(fleet.nodes[position], demand, (cpu, memory))
        if fit[0] < least[0] or fit[1] < least[1]:
            continue
        if best is None or _nearness(fit, demand) > _nearness(best[1], demand):
            best = position, fit
    return None if best is None else (fleet.hosts[best[0]].key, *best[1])


def _in_nodes(nodes: Nodes, demand: Demand, most: tuple[int, int]) -> tuple[int, int]:
    """The vCPUs and MiB, at most `most`, that nearest to the demand fit evenly in its number of nodes."""
    best = (0, 0)
    for cpu in sorted(set(nodes.cpu)):
        memories = sorted(mib for mib, free in zip(nodes.memory, nodes.cpu, strict=True) if free >= cpu)
        if len(memories) >= demand.numa:
            fit = min(cpu * demand.numa, most[0]), min(memories[-demand.numa] * demand.numa, most[1])
            best = max(best, fit, key=lambda each: _nearness(each, demand))
    return best


def _nearness(fit: tuple[int, int], demand: Demand) -> tuple[float, int, int]:
    return min(_share(fit[0], demand.cpu), _share(fit[1], demand.memory)), fit[1], fit[0]


def _shares(have: np.ndarray, need: int) -> np.ndarray:
    return have / need if need else np.full(len(have), math.inf)


def _share(have: int, need: int) -> float:
    return have / need if need else math.inf


def _ever(fleet: Fleet, demand: Demand, every: tuple[Obstacle, ...]) -> bool:
    """Whether a host would take the demand if it were up and empty."""
    mask = fleet.everything & ~lasting(every)
    if not mask:
        return False
    if ever_fits(fleet, demand, lowest(mask)):
        return True
    where = as_array(mask)
    if any(need and name not in fleet.row for name, need in demand.resources.items()):
        return False
    for row, need in fleet.needs(demand):
        capacity = np.array(fleet.columns[row].capacity, dtype=np.int64)
        where = where[capacity[where] >= need]
        if not len(where):
            return False
    if not demand.numa:
        return True
    shapes = {
        (host.numa, host.cpu_overcommit, host.memory_overcommit): position
        for position in where.tolist()
        for host in (fleet.hosts[position],)
    }
    return any(ever_fits(fleet, demand, position) for position in shapes.values())


def _unknown(fleet: Fleet, demand: Demand) -> str:
    """A name that no host has says more than what each host lacks."""
    names = unknown_names(fleet, demand)
    return f"no host takes it: {names}" if names else ""


def _sentence(
    demand: Demand,
    rejections: tuple[Rejection, ...],
    searched: Searched | None,
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
        shown = [each for each in rejections if largest is None or each.hosts > 1 or each.host != largest[0]]
    if short and not ever:
        text += ", and it would not fit on an empty host"
    elif short and searched is not None:
        text += f", and {_searched(searched)}"
    if largest is not None:
        text += f": the largest that would fit now is {size(*largest[1:])} on {largest[0]}"
    return f"{text} ({some([each.sentence() for each in shown])})" if shown else text


def _searched(search: Searched) -> str:
    moves = (
        "no single live migration"
        if search.depth == 1
        else f"no chain of up to {search.depth} live migrations"
    )
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
        Reason.ACCELERATOR: f"no host runs its guests by {demand.accelerator}",
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
