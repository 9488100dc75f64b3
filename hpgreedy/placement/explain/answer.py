"""The whole explanation of one decision."""

from __future__ import annotations

from hpgreedy.model import Demand
from hpgreedy.placement.algorithms import DEFAULT, known
from hpgreedy.placement.decision import Move, NotPlaced, Placed
from hpgreedy.placement.explain.change import smallest_change
from hpgreedy.placement.explain.classes import MOST, by_admission, rejected
from hpgreedy.placement.explain.obstacles import about, obstacles, sort
from hpgreedy.placement.explain.runner_up import cost_of, runner_up
from hpgreedy.placement.fleet import Fleet
from hpgreedy.placement.makeroom import Limits
from hpgreedy.placement.placer import Placer
from hpgreedy.placement.question import Question
from hpgreedy.placement.words import amount, count
from protocol.explanation import AtMost, BrokenRule, ExplainedMove, Explanation, Measure, RunnerUp


def explain(
    fleet: Fleet,
    demand: Demand,
    algorithm: str = DEFAULT,
    *,
    seed: int = 0,
    last: str | None = None,
    limits: Limits | None = None,
    most: int | None = MOST,
) -> Explanation:
    """What `Placer.decide` would answer, and why; nothing is changed.

    Of classes of more hosts than a few, `most` groups and hosts are listed; None = all. Raises SpecError for
    an unknown algorithm.
    """
    answer = Placer(fleet, limits).decide(demand, algorithm, seed=seed, last=last)
    return explain_answer(fleet, demand, answer, seed=seed, last=last, most=most)


def explain_answer(
    fleet: Fleet,
    demand: Demand,
    answer: Placed | NotPlaced,
    *,
    seed: int = 0,
    last: str | None = None,
    most: int | None = MOST,
) -> Explanation:
    """Why that is the answer: the fleet must stand as when it was given, and nothing is searched again."""
    if isinstance(answer, NotPlaced):
        return _refused(fleet, demand, answer, most)
    return _placed(Question(fleet, demand, seed=seed, last=last), answer, most)


def _placed(question: Question, answer: Placed, most: int | None) -> Explanation:
    fleet, demand = question.fleet, question.demand
    found = sort(fleet, demand, obstacles(fleet, demand))
    position = fleet.position[answer.host]
    return Explanation(
        vm=demand.key,
        outcome="placed",
        algorithm=answer.algorithm,
        why=answer.why,
        host=answer.host,
        numa_nodes=answer.numa_nodes,
        moves=tuple(_move(move) for move in answer.moves),
        runner_up=_next_after_moves(answer) if answer.moves else _next(question, answer, position),
        broken=_broken(fleet, demand, position),
        hosts=fleet.everything.bit_count(),
        taking=found.taking.bit_count(),
        rejected=rejected(fleet, demand, found, most),
        searched=answer.searched,
    )


def _refused(fleet: Fleet, demand: Demand, answer: NotPlaced, most: int | None) -> Explanation:
    every = obstacles(fleet, demand)
    found = sort(fleet, demand, every)
    kept_off = by_admission(answer, most)
    return Explanation(
        vm=demand.key,
        outcome="refused",
        algorithm=answer.algorithm,
        why=answer.why,
        hosts=fleet.everything.bit_count(),
        taking=found.taking.bit_count() - sum(each.count for each in kept_off),
        rejected=(*rejected(fleet, demand, found, most), *kept_off),
        searched=answer.searched,
        change=None if found.taking else smallest_change(fleet, demand, every),
        at_most=None if answer.largest is None else _at_most(*answer.largest),
        ever=answer.ever,
    )


def _at_most(host: str, cpu: int, memory: int) -> AtMost:
    words = f"or ask for at most {count(cpu, 'cpu')} and {amount(memory)}, which {host} has free"
    return AtMost(host=host, cpu=cpu, memory=memory, sentence=words)


def _move(move: Move) -> ExplainedMove:
    return ExplainedMove(
        vm=move.vm,
        source=move.source,
        target=move.target,
        memory=move.memory,
        numa_nodes=move.numa_nodes,
    )


def _next(question: Question, answer: Placed, position: int) -> RunnerUp | None:
    chosen = known(answer.algorithm)
    if answer.runner_up is not None:
        other = question.fleet.position.get(answer.runner_up)
    else:
        other = None if answer.why else chosen.choose(question.without(position))
    return None if other is None else runner_up(question, position, other, chosen)


def _next_after_moves(answer: Placed) -> RunnerUp | None:
    if answer.runner_up is None:
        return None
    moved = sum(move.memory for move in answer.moves)
    moves = count(len(answer.moves), "live migration")
    cost = f"the {amount(moved)} ({moves}) for {answer.host}"
    complete = answer.searched is not None and answer.searched.complete
    return RunnerUp(
        host=answer.runner_up,
        why="room could be made there too, "
        + (
            f"and not by moving less than {cost}"
            if complete
            else f"and nothing was found that moves less than {cost}"
        ),
        measure=Measure.TO_MOVE,
        chosen=moved,
    )


def _broken(fleet: Fleet, demand: Demand, position: int) -> tuple[BrokenRule, ...]:
    host = fleet.hosts[position].key
    found = []
    for number, rule in enumerate(demand.rules):
        cost = cost_of(fleet, demand, number, position)
        if cost:
            what = about(rule)
            found.append(
                BrokenRule(
                    rule=number,
                    kind=rule.kind.value,
                    about=what,
                    scope=rule.scope,
                    weight=rule.weight,
                    cost=cost,
                    sentence=f"{host} breaks the soft rule {rule.kind.value} {what} at a cost of {cost:g}",
                )
            )
    return tuple(found)
