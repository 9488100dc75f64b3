"""What it costs when nothing fits: to explain a refusal, and to look for moves that make room."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from benchmarks.clusters import filled
from benchmarks.timing import milliseconds
from hpgreedy.model import Claim, Cluster, Demand, Host, Rule, RuleKind
from hpgreedy.placement import Fleet, Limits, NotPlaced, Placer
from hpgreedy.placement.explain.answer import explain
from hpgreedy.placement.makeroom import search


class Case(NamedTuple):
    """A name, the median and the longest milliseconds, and what came of it."""

    name: str
    median: float
    longest: float
    outcome: str


def explanations(hosts: int, seed: int, runs: int) -> list[Case]:
    """Full hosts that differ in size, shape and label, and a VM that none of them takes."""
    cluster = filled(hosts, seed, flavours=False, times=2)
    fleet = Fleet(cluster)
    group = tuple(range(0, hosts, 3))
    for n in group:
        tiny = Demand(key=f"member{n}", cpu=0, memory=0, group="members")
        fleet.add(Claim(demand=tiny, host=f"h{n}"))
    apart = Rule(kind=RuleKind.APART, group="members")
    away = Rule(kind=RuleKind.AVOID, hosts=frozenset(f"h{n}" for n in range(1, hosts, 3)))
    wanted = {
        "larger than any host": Demand(key="new", cpu=4000, memory=1024),
        "a label that no host has": Demand(key="new", cpu=1, memory=1024, host_labels={"zone": "c"}),
        "no room now": Demand(key="new", cpu=100, memory=300_000, resources={"disk": 2000}),
        "rules, labels and room": Demand(
            key="new", cpu=250, memory=1024, host_labels={"zone": "a"}, group="new", rules=(apart, away)
        ),
        "NUMA nodes that no host has": Demand(key="new", cpu=2, memory=1024, numa=2),
    }
    found = []
    for name, demand in wanted.items():
        median, longest = milliseconds(partial(explain, fleet, demand, "best_fit"), runs)
        answer = Placer(fleet).decide(demand, "best_fit")
        found.append(Case(name, median, longest, "refused" if isinstance(answer, NotPlaced) else "placed"))
    return found


def rooms(hosts: int, seed: int, runs: int) -> list[Case]:
    """Ten VMs on each host and a newcomer that fits nowhere as things stand."""
    random = filled(hosts, seed, flavours=False, times=1)
    made: dict[str, Callable[[], tuple[Cluster, Demand]]] = {
        "one move": lambda: (_equal(hosts, (6,) * 9 + (4,)), _vm("new", 8)),
        "two moves": lambda: (_equal(hosts, (10, 10, 10, 10, 7, 4, 4, 2, 2, 2)), _vm("new", 7)),
        "none, all alike": lambda: (_equal(hosts, (6,) * 9 + (7,)), _vm("new", 5)),
        "none, one of each": lambda: (_equal(hosts, (4, 5, 6, 7, 8, 9, 11, 3, 4, 4)), _vm("new", 40)),
        "none, three needed": lambda: (
            _equal(hosts, (10, 10, 10, 9, 7, 7, *(2,) * 4)),
            _vm("new", 9),
        ),
        "full, any size, 80 cpus": lambda: (random, _vm("new", 80)),
        "full, any size, 250 cpus": lambda: (random, _vm("new", 250)),
    }
    found = []
    for name, make in made.items():
        cluster, demand = make()
        fleet = Fleet(cluster)
        median, longest = milliseconds(partial(search, fleet, demand, Limits()), runs)
        result = search(fleet, demand, Limits())
        count = "none" if result.plan is None else f"{len(result.plan.moves)} moves"
        outcome = f"{count}, depth {result.depth}" + ("" if result.complete else ", not all looked at")
        found.append(Case(f"{name} ({len(cluster.claims)} VMs)", median, longest, outcome))
    return found


def _equal(hosts: int, cpus: tuple[int, ...]) -> Cluster:
    """Hosts of 64 CPUs with VMs of these vCPUs each, dealt out in another order on each."""
    made = {f"h{n}": Host(key=f"h{n}", cpu=64, memory=65536, resources={"disk": 640}) for n in range(hosts)}
    claims = tuple(
        Claim(demand=_vm(f"old{n}-{k}", cpus[(n + k) % len(cpus)]), host=host)
        for n, host in enumerate(made)
        for k in range(len(cpus))
    )
    return Cluster(made, claims)


def _vm(key: str, cpu: int) -> Demand:
    return Demand(key=key, cpu=cpu, memory=cpu * 1024, resources={"disk": cpu * 10})
