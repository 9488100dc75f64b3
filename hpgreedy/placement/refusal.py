"""Why no host takes a VM, and what would fit instead, in one sentence."""

from __future__ import annotations

import math

from hpgreedy.model import Cluster, Demand, Host
from hpgreedy.placement.constraints import ever_fits
from hpgreedy.placement.decision import CAPACITY, Algorithm, NotPlaced, Question, Reason, Rejection
from hpgreedy.placement.words import amount, count, size, some


def refuse(question: Question, algorithm: Algorithm) -> NotPlaced:
    """The explained refusal; it claims no more than what `algorithm` has searched."""
    hosts = question.cluster.hosts
    largest = largest_fit(question.cluster, question.demand, question.rejections)
    ever = any(ever_fits(question.demand, host) for host in hosts.values())
    return NotPlaced(
        rejections=question.rejections,
        why=_sentence(question, algorithm, largest, ever),
        largest=largest,
        ever=ever,
        algorithm=algorithm.name,
    )


def largest_fit(
    cluster: Cluster, demand: Demand, rejections: tuple[Rejection, ...]
) -> tuple[str, int, int] | None:
    """Host, vCPUs and MiB of the largest VM of the demand's needs that would fit now.

    The largest is the one that comes nearest to the demand: whose scarcer of vCPUs and memory is the
    greater share of what was asked for; then more memory, more vCPUs, the earlier host.
    """
    best: tuple[tuple[float, int, int], str] | None = None
    for rejection in rejections:
        if rejection.reason not in (Reason.CPU, Reason.MEMORY):
            continue
        host = cluster.hosts[rejection.host]
        cpu, memory = _free(cluster, host)
        if cpu < min(1, demand.cpu) or memory < min(1, demand.memory):
            continue
        rank = (min(_share(cpu, demand.cpu), _share(memory, demand.memory)), memory, cpu)
        if best is None or rank > best[0]:
            best = (rank, host.key)
    return None if best is None else (best[1], best[0][2], best[0][1])


def _share(have: int, need: int) -> float:
    return have / need if need else math.inf


def _free(cluster: Cluster, host: Host) -> tuple[int, int]:
    used = cluster.used(host.key)
    return int(host.cpu_capacity - used.cpu), int(host.memory_capacity - used.memory)


def _sentence(
    question: Question, algorithm: Algorithm, largest: tuple[str, int, int] | None, ever: bool
) -> str:
    if not question.cluster.hosts:
        return "no host is registered"
    demand = question.demand
    short = any(rejection.reason in CAPACITY for rejection in question.rejections)
    if demand.wanted_host is not None:
        text, shown = _of_named_host(question, demand.wanted_host), []
    else:
        text = _head(demand, question.rejections)
        shown = [each for each in question.rejections if largest is None or each.host != largest[0]]
    if short and not ever:
        text += ", and it would not fit on an empty host"
    elif short and algorithm.beyond:
        text += f", and {algorithm.beyond}"
    if largest is not None:
        text += f": the largest that would fit now is {size(*largest[1:])} on {largest[0]}"
    return f"{text} ({some([each.sentence() for each in shown])})" if shown else text


def _of_named_host(question: Question, wanted: str) -> str:
    found = next((each for each in question.rejections if each.host == wanted), None)
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
        Reason.NETWORK: f"no host has the networks {', '.join(sorted(demand.networks))}",
    }
    return heads[reason]


def _listed(items: dict[str, int] | dict[str, str], between: str) -> str:
    return ", ".join(
        f"{value}{between}{name}" if between == " " else f"{name}{between}{value}"
        for name, value in items.items()
    )
