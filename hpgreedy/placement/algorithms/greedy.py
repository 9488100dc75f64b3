"""HP Greedy: best fit, and where nothing fits, room is made by moving one VM."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from hpgreedy.model import Claim, Cluster, Demand, Host
from hpgreedy.placement.algorithms import best_fit
from hpgreedy.placement.constraints import check
from hpgreedy.placement.decision import CAPACITY, Algorithm, Choice, Move, Question
from hpgreedy.placement.words import amount


class Plan(msgspec.Struct, frozen=True):
    """Room is made on `claim.host` by moving its VM to `target`."""

    claim: Claim
    target: str

    @property
    def move(self) -> Move:
        """The live migration."""
        demand = self.claim.demand
        return Move(vm=demand.key, source=self.claim.host, target=self.target, memory=demand.memory)


def choose(question: Question) -> Choice | None:
    """Best fit's host, else the cheapest single reassignment, the one with the least memory to move.

    Equal ones are taken in order of the hosts' registration, then of the claims.
    """
    direct = best_fit.choose(question)
    if direct is not None:
        return direct
    plans = _plans(question)
    best = next(plans, None)
    if best is None:
        return None
    other = next((plan.claim.host for plan in plans if plan.claim.host != best.claim.host), None)
    move = best.move
    return Choice(
        host=move.source,
        moves=(move,),
        why=f"greedy: no host has room, and moving {move.vm} ({amount(move.memory)}) "
        f"from {move.source} to {move.target} makes room on {move.source}",
        runner_up=other,
    )


def _plans(question: Question) -> Iterator[Plan]:
    """The moves that make room, cheapest first."""
    targets = _Targets(question.cluster)
    for claim in sorted(_victims(question), key=lambda claim: claim.demand.memory):
        target = targets.best(claim)
        if target is not None:
            yield Plan(claim, target.key)


def _victims(question: Question) -> Iterator[Claim]:
    """The placed VMs without which the demand would fit where they are, in order of registration."""
    cluster, demand = question.cluster, question.demand
    for rejection in question.rejections:
        if rejection.reason not in CAPACITY:
            continue
        host, used = cluster.hosts[rejection.host], cluster.used(rejection.host)
        for claim in cluster.claims_on(host.key):
            if not claim.movable or claim.demand.pinned or claim.demand.key == demand.key:
                continue
            if check(demand, host, used.minus(claim.demand)) is None:
                yield claim


class _Targets:
    """Where VMs could move to as the cluster stands: both ends are held until a move is done.

    Many VMs ask for the same; what was found for one holds for all of its kind.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._names = frozenset[str]().union(*(host.names_taken for host in cluster.hosts.values()))
        self._found: dict[tuple[object, ...], list[Host]] = {}

    def best(self, claim: Claim) -> Host | None:
        """The host with the least left over that takes the VM as it is now, other than its own."""
        demand = claim.demand.unbound()
        kind = self._kind(demand)
        if kind not in self._found:
            self._found[kind] = self._two_best(demand)
        return next((host for host in self._found[kind] if host.key != claim.host), None)

    def _kind(self, demand: Demand) -> tuple[object, ...]:
        return (
            demand.key if demand.key in self._names else None,
            demand.cpu,
            demand.memory,
            tuple(sorted(demand.resources.items())),
            tuple(sorted(demand.host_labels.items())),
            demand.bridges,
            demand.networks,
        )

    def _two_best(self, demand: Demand) -> list[Host]:
        cluster = self._cluster
        fitting = tuple(
            host for host in cluster.hosts.values() if check(demand, host, cluster.used(host.key)) is None
        )
        return best_fit.ranked(cluster, demand, fitting)[:2]


GREEDY = Algorithm(
    name="greedy",
    summary="best fit; when nothing fits, the cheapest single live migration that makes room",
    source="HP Greedy's reassignment",
    choose=choose,
    beyond="no single live migration would make room",
)
