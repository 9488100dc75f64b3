"""Weight balanced: every host near the same, comfortable fill."""

from __future__ import annotations

from hpgreedy.model import Cluster, Demand, Host
from hpgreedy.placement.decision import Algorithm, Choice, Question

TARGET = 0.75


def utilisation(cluster: Cluster, demand: Demand, host: Host) -> float:
    """How full the host is once it holds `demand`: the share of its most used resource.

    The share of vCPUs and memory is of what the host may give out, overcommit included; resources of
    which it offers none do not count.
    """
    used = cluster.used(host.key).plus(demand)
    pairs = [(used.cpu, host.cpu_capacity), (used.memory, host.memory_capacity)]
    pairs += [(used.resources.get(name, 0), offered) for name, offered in host.resources.items()]
    return round(max((held / offered for held, offered in pairs if offered), default=0.0), 9)


def choose(question: Question) -> Choice | None:
    """The candidate whose utilisation is nearest to `TARGET`; ties in order of registration."""
    after = {host.key: utilisation(question.cluster, question.demand, host) for host in question.candidates}
    best = sorted(after, key=lambda key: round(abs(after[key] - TARGET), 9))
    if not best:
        return None
    return Choice(
        host=best[0],
        why=f"weight balanced: {best[0]} will be {after[best[0]]:.0%} full, the nearest to {TARGET:.0%}",
        runner_up=best[1] if len(best) > 1 else None,
    )


WEIGHT_BALANCED = Algorithm(
    name="weight_balanced",
    summary="the host whose most used resource is then nearest to 75 % of what it offers",
    source="the original HP Greedy",
    choose=choose,
)
