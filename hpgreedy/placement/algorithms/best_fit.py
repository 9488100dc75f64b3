"""Best fit: the host that the VM fills best."""

from __future__ import annotations

from hpgreedy.model import Cluster, Demand, Host
from hpgreedy.placement.decision import Algorithm, Choice, Question
from hpgreedy.placement.words import size


def left_over(cluster: Cluster, demand: Demand, host: Host) -> float:
    """What is left on the host once it holds `demand`: the sum of the free vCPUs, the free memory and the
    free units of every resource, each divided by the largest capacity any host of the cluster has of it.

    One scale for all hosts, so with hosts that differ in one quantity alone the order is that of the plain
    remainder. Resources the VM does not ask for count too: they keep it off the hosts that offer them.
    """
    scale, used = cluster.scale, cluster.used(host.key)
    left = (host.cpu_capacity - used.cpu - demand.cpu) / scale.cpu
    left += (host.memory_capacity - used.memory - demand.memory) / scale.memory
    for name, offered in host.resources.items():
        if offered:
            free = offered - used.resources.get(name, 0) - demand.resources.get(name, 0)
            left += free / scale.resources[name]
    return round(left, 9)


def ranked(cluster: Cluster, demand: Demand, hosts: tuple[Host, ...]) -> list[Host]:
    """The hosts from the least left over to the most; ties in the order given."""
    return sorted(hosts, key=lambda host: left_over(cluster, demand, host))


def choose(question: Question) -> Choice | None:
    """The candidate with the least left over."""
    best = ranked(question.cluster, question.demand, question.candidates)
    if not best:
        return None
    host, demand = best[0], question.demand
    used = question.cluster.used(host.key)
    left = size(
        int(host.cpu_capacity - used.cpu - demand.cpu),
        int(host.memory_capacity - used.memory - demand.memory),
    )
    return Choice(
        host=host.key,
        why=f"best fit: it leaves the least on {host.key} ({left} free after it)",
        runner_up=best[1].key if len(best) > 1 else None,
    )


BEST_FIT = Algorithm(
    name="best_fit",
    summary="the host that has the least left over, all its resources on one scale",
    source="a classic of bin packing",
    choose=choose,
)
