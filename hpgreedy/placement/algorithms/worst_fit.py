"""Worst fit: the host that keeps the most free."""

from __future__ import annotations

from hpgreedy.placement.algorithms.best_fit import left_over
from hpgreedy.placement.decision import Algorithm, Choice, Question


def choose(question: Question) -> Choice | None:
    """The candidate with the most left over, as best fit measures it; ties in order of registration."""
    cluster, demand = question.cluster, question.demand
    best = sorted(question.candidates, key=lambda host: -left_over(cluster, demand, host))
    if not best:
        return None
    return Choice(
        host=best[0].key,
        why=f"worst fit: it leaves the most on {best[0].key}",
        runner_up=best[1].key if len(best) > 1 else None,
    )


WORST_FIT = Algorithm(
    name="worst_fit",
    summary="the host that has the most left over, all its resources on one scale: spreads the load",
    source="a classic of bin packing",
    choose=choose,
)
