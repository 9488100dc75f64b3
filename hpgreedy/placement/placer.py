"""Decide where a VM goes, and carry it out in the fleet."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from hpgreedy.model import Claim, Cluster, Demand
from hpgreedy.placement.algorithms import DEFAULT, known
from hpgreedy.placement.decision import NotPlaced, Placed
from hpgreedy.placement.fleet import Fleet
from hpgreedy.placement.makeroom import Limits, Search, search
from hpgreedy.placement.packed import Effort, packed
from hpgreedy.placement.question import Question
from hpgreedy.placement.refusal import refuse
from protocol.explanation import Searched


class Placer:
    """Places VMs in a fleet, which it changes as decisions are committed. The same calls always give the
    same answers.
    """

    def __init__(self, fleet: Fleet, limits: Limits | None = None) -> None:
        self.fleet = fleet
        self.limits = limits or Limits()
        self._hints: dict[str, int] = {}

    def turns(
        self, demands: Sequence[Demand], algorithm: str = DEFAULT, *, seed: int = 0, last: str | None = None
    ) -> tuple[int, ...]:
        """The numbers of the demands in the order in which they are to be decided on, their own but for an
        algorithm that looks at all of them first; what that found is kept for their decisions.

        Raises SpecError for an unknown algorithm.
        """
        if not known(algorithm).batch or not demands:
            return tuple(range(len(demands)))
        limits = self.limits
        effort = Effort(seconds=limits.packing_seconds, rounds=limits.packing_rounds, clock=limits.clock)
        spots = packed(self.fleet, demands, seed=seed, last=last, effort=effort)
        self._hints = {demands[spot.number].key: spot.position for spot in spots}
        found = [spot.number for spot in spots]
        return (*found, *sorted(set(range(len(demands))).difference(found)))

    def decide(
        self,
        demand: Demand,
        algorithm: str = DEFAULT,
        *,
        seed: int = 0,
        last: str | None = None,
        explained: bool = True,
    ) -> Placed | NotPlaced:
        """Choose a host for `demand`; nothing is changed.

        `seed` is what an algorithm draws from, `last` the host that the VM before this one was given. A
        demand whose VM holds something already goes to another host than those it stands on. Without
        `explained` the answer says neither why nor which host would have been next. Raises SpecError for an
        unknown algorithm.
        """
        chosen = known(algorithm)
        hint = self._hints.get(demand.key)
        question = Question(self.fleet, demand, seed=seed, last=last, hint=hint)
        position = chosen.choose(question)
        if position is not None:
            return self.on(question, position, algorithm, explained=explained)
        searched = search(self.fleet, demand, self.limits) if chosen.makes_room else None
        if searched is not None and searched.plan is not None:
            return self._with_moves(searched, algorithm)
        return refuse(self.fleet, demand, chosen, searched)

    def on(self, question: Question, position: int, algorithm: str, *, explained: bool = True) -> Placed:
        """The answer where the algorithm chose the host at `position`."""
        host = question.fleet.hosts[position].key
        nodes: tuple[int, ...] = ()
        if question.demand.numa:
            nodes = self.fleet.nodes[position].place(question.demand) or ()
        if not explained:
            return Placed(host=host, numa_nodes=nodes, algorithm=algorithm)
        chosen = known(algorithm)
        next_best = chosen.choose(question.without(position))
        return Placed(
            host=host,
            numa_nodes=nodes,
            why=f"{algorithm.replace('_', ' ')}: {chosen.why(question, position)}",
            runner_up=None if next_best is None else self.fleet.hosts[next_best].key,
            algorithm=algorithm,
        )

    def place(
        self, demand: Demand, algorithm: str = DEFAULT, *, seed: int = 0, last: str | None = None
    ) -> Placed | NotPlaced:
        """Decide and commit, without explaining."""
        answer = self.decide(demand, algorithm, seed=seed, last=last, explained=False)
        if isinstance(answer, Placed):
            self.commit(demand, answer)
        return answer

    def commit(self, demand: Demand, placed: Placed) -> None:
        """The moves are done and the VM stands on its host, free to be moved itself."""
        for move in placed.moves:
            self.fleet.move(move.vm, move.source, move.target, move.numa_nodes)
        self.fleet.add(Claim(demand=demand, host=placed.host, numa_nodes=placed.numa_nodes))

    def reserve(self, demand: Demand, placed: Placed) -> None:
        """The VM's reservation, and those at both ends of its moves, none of which may be moved."""
        for move in placed.moves:
            claim = self.fleet.remove(move.vm, move.source)
            assert claim is not None
            held = msgspec.structs.replace(claim, movable=False)
            self.fleet.add(held)
            self.fleet.add(msgspec.structs.replace(held, host=move.target, numa_nodes=move.numa_nodes))
        self.fleet.add(Claim(demand=demand, host=placed.host, movable=False, numa_nodes=placed.numa_nodes))

    def _with_moves(self, searched: Search, algorithm: str) -> Placed:
        plan = searched.plan
        assert plan is not None
        return Placed(
            host=plan.host,
            moves=plan.moves,
            numa_nodes=plan.numa_nodes,
            why=f"{algorithm}: {plan.why}",
            runner_up=searched.runner_up,
            searched=Searched(depth=searched.depth, complete=searched.complete),
            algorithm=algorithm,
        )


def decide(
    cluster: Cluster, demand: Demand, algorithm: str = DEFAULT, *, seed: int = 0, last: str | None = None
) -> Placed | NotPlaced:
    """One decision about a cluster; see `Placer.decide`."""
    return Placer(Fleet(cluster)).decide(demand, algorithm, seed=seed, last=last)


def carried_out(cluster: Cluster, demand: Demand, placed: Placed) -> Cluster:
    """The cluster once the moves are done and the VM stands on its host, free to be moved itself."""
    fleet = Fleet(cluster)
    Placer(fleet).commit(demand, placed)
    return fleet.cluster()
