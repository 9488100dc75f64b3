"""Why the host that would have been next lost, with the numbers of both."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hpgreedy.model import Demand
from hpgreedy.placement.algorithms import Algorithm
from hpgreedy.placement.algorithms.dot_product import shares
from hpgreedy.placement.algorithms.norm import distances
from hpgreedy.placement.algorithms.weight_balanced import TARGET, utilisations
from hpgreedy.placement.fleet import CPU, MEMORY, Fleet
from hpgreedy.placement.fleet.fleet import SHARE_BITS
from hpgreedy.placement.preferences import broken
from hpgreedy.placement.question import Question
from hpgreedy.placement.words import size
from protocol.explanation import Measure, RunnerUp, Shape

Verdict = tuple[Measure, float | None, float | None, str]


def runner_up(question: Question, position: int, other: int, algorithm: Algorithm) -> RunnerUp:
    """The host at `other`, which the algorithm would choose were the one at `position` not there."""
    fleet, demand = question.fleet, question.demand
    costs = soft_cost(fleet, demand, position), soft_cost(fleet, demand, other)
    if costs[0] < costs[1]:
        chosen, lost = fleet.hosts[position].key, fleet.hosts[other].key
        verdict: Verdict = (
            Measure.SOFT_COST,
            costs[0],
            costs[1],
            f"{lost} would break soft rules at a cost of {costs[1]:g}, {chosen} at one of {costs[0]:g}",
        )
    else:
        compare = _COMPARED.get(algorithm.name)
        verdict = (
            compare(question, position, other)
            if compare is not None
            else _chance(question, position, algorithm)
        )
    measure, value, of_other, why = verdict
    return RunnerUp(
        host=fleet.hosts[other].key,
        why=why,
        measure=measure,
        chosen=value,
        value=of_other,
        left=left(fleet, demand, other),
        left_on_chosen=left(fleet, demand, position),
    )


def soft_cost(fleet: Fleet, demand: Demand, position: int) -> float:
    """The weights of the soft rules that the VM breaks at the position."""
    return round(sum(cost_of(fleet, demand, number, position) for number in range(len(demand.rules))), 9)


def cost_of(fleet: Fleet, demand: Demand, number: int, position: int) -> float:
    """What it costs that the VM's rule of that number is broken there; 0 for a hard rule, which never is."""
    rule = demand.rules[number]
    if rule.hard:
        return 0.0
    bit = 1 << position
    return next(cost for cost, hosts in broken(fleet, demand, rule).items() if hosts & bit)


def left(fleet: Fleet, demand: Demand, position: int) -> Shape:
    """What is free at the position with the VM on it, of what the host offers."""
    free = {name: fleet.columns[row].values[position] for name, row in fleet.row.items()}
    offered = fleet.hosts[position].resources
    return Shape(
        cpu=fleet.columns[CPU].values[position] - demand.cpu,
        memory=fleet.columns[MEMORY].values[position] - demand.memory,
        resources={name: free[name] - demand.resources.get(name, 0) for name in offered},
    )


def _in_words(shape: Shape) -> str:
    return " and ".join(
        (size(shape.cpu, shape.memory), *(f"{units} {name}" for name, units in shape.resources.items()))
    )


def _left_over(question: Question, position: int, other: int) -> Verdict:
    fleet, demand = question.fleet, question.demand
    chosen, lost = fleet.hosts[position].key, fleet.hosts[other].key
    scores = tuple(_remainder(fleet, demand, each) for each in (position, other))
    words = tuple(_in_words(left(fleet, demand, each)) for each in (position, other))
    if fleet.fullness.keys[position] == fleet.fullness.keys[other]:
        why = f"as much would be left on {lost} as on {chosen} ({words[0]}), which comes first"
    else:
        why = f"{words[1]} would be left on {lost}, {words[0]} on {chosen}"
    return Measure.LEFT_OVER, scores[0], scores[1], why


def _most_left(question: Question, position: int, other: int) -> Verdict:
    return (Measure.MOST_LEFT, *_left_over(question, position, other)[1:])


def _remainder(fleet: Fleet, demand: Demand, position: int) -> float:
    takes = sum(units / fleet.columns[row].largest for row, units in fleet.needs(demand))
    return round(float(fleet.fullness.keys[position] / 2**SHARE_BITS - takes), 4)


def _order(question: Question, position: int, other: int) -> Verdict:
    chosen, lost = question.host(position).key, question.host(other).key
    why = f"{lost} comes after {chosen} in order of registration"
    return Measure.ORDER, position, other, why


def _circle(question: Question, position: int, other: int) -> Verdict:
    chosen, lost = question.host(position).key, question.host(other).key
    after = f", which begins after {question.last}" if question.last is not None else ""
    return Measure.ORDER, position, other, f"{lost} comes after {chosen} in the circle{after}"


def _two(question: Question, position: int, other: int, scores: np.ndarray) -> tuple[float, float]:
    found = question.candidates
    at = np.searchsorted(found, [position, other])
    return float(scores[int(at[0])]), float(scores[int(at[1])])


def _utilisation(question: Question, position: int, other: int) -> Verdict:
    chosen, lost = question.host(position).key, question.host(other).key
    mine, its = _two(question, position, other, utilisations(question))
    why = f"{lost} would be {its:.1%} full, {chosen} {mine:.1%}, and {TARGET:.0%} is aimed at"
    return Measure.UTILISATION, mine, its, why + _tie(abs(mine - TARGET), abs(its - TARGET), chosen)


def _share(question: Question, position: int, other: int) -> Verdict:
    chosen, lost = question.host(position).key, question.host(other).key
    mine, its = _two(question, position, other, shares(question))
    why = f"the VM takes {its:.1%} of the room on {lost} in that room's own direction, {mine:.1%} on {chosen}"
    return Measure.SHARE, mine, its, why + _tie(mine, its, chosen)


def _distance(question: Question, position: int, other: int) -> Verdict:
    chosen, lost = question.host(position).key, question.host(other).key
    mine, its = (value**0.5 for value in _two(question, position, other, distances(question)))
    why = f"the room on {lost} is at a distance of {its:.4g} from the VM, that on {chosen} at {mine:.4g}"
    return Measure.DISTANCE, mine, its, why + _tie(mine, its, chosen)


def _tie(one: float, other: float, chosen: str) -> str:
    return f", and {chosen} comes first" if round(one - other, 9) == 0 else ""


def _chance(question: Question, position: int, algorithm: Algorithm) -> Verdict:
    return Measure.CHANCE, None, None, algorithm.why(question, position)


def _batch(question: Question, position: int, other: int) -> Verdict:
    chosen, next_one = question.host(position).key, question.host(other).key
    why = f"{chosen} was found with those of the request's other VMs; alone it might go to {next_one}"
    return Measure.BATCH, None, None, why


_COMPARED: dict[str, Callable[[Question, int, int], Verdict]] = {
    "best_fit": _left_over,
    "greedy": _left_over,
    "worst_fit": _most_left,
    "first_fit": _order,
    "next_fit": _circle,
    "weight_balanced": _utilisation,
    "dot_product": _share,
    "norm": _distance,
    "packed": _batch,
}
"""By algorithm; of any other its own words for what speaks for the chosen host."""
