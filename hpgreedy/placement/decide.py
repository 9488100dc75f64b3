"""One decision: the hosts that take a VM, the algorithm's choice among them, and the explanation."""

from __future__ import annotations

from hpgreedy.model import Claim, Cluster, Demand, Host
from hpgreedy.placement.algorithms import DEFAULT, known
from hpgreedy.placement.constraints import check
from hpgreedy.placement.decision import NotPlaced, Placed, Question, Rejection
from hpgreedy.placement.refusal import refuse


def decide(
    cluster: Cluster, demand: Demand, algorithm: str = DEFAULT, *, seed: int = 0, last: str | None = None
) -> Placed | NotPlaced:
    """Choose a host for `demand`; the same arguments always give the same answer.

    `seed` is what an algorithm draws from, `last` the host that the VM before this one was given. A demand
    whose VM holds something already goes to another host than those it stands on. Raises SpecError for an
    unknown algorithm.
    """
    chosen = known(algorithm)
    question = _question(cluster, demand, seed, last)
    choice = chosen.choose(question)
    if choice is None:
        return refuse(question, chosen)
    return Placed(
        host=choice.host,
        moves=choice.moves,
        why=choice.why,
        runner_up=choice.runner_up,
        rejections=question.rejections,
        algorithm=chosen.name,
    )


def carried_out(cluster: Cluster, demand: Demand, placed: Placed) -> Cluster:
    """The cluster once the moves are done and the VM stands on its host, free to be moved itself."""
    for move in placed.moves:
        claim = next(each for each in cluster.claims_on(move.source) if each.demand.key == move.vm)
        moved = Claim(demand=claim.demand, host=move.target, movable=claim.movable)
        cluster = cluster.without(move.vm, move.source).with_claim(moved)
    return cluster.with_claim(Claim(demand=demand, host=placed.host))


def _question(cluster: Cluster, demand: Demand, seed: int, last: str | None) -> Question:
    standing = cluster.hosts_of(demand.key)
    candidates: list[Host] = []
    rejections: list[Rejection] = []
    for host in cluster.hosts.values():
        rejection = check(demand, host, cluster.used(host.key), already=host.key in standing)
        if rejection is None:
            candidates.append(host)
        else:
            rejections.append(rejection)
    return Question(
        cluster=cluster,
        demand=demand,
        candidates=tuple(candidates),
        rejections=tuple(rejections),
        seed=seed,
        last=last,
    )
