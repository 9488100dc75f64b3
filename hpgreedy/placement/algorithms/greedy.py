"""HP Greedy: best fit, and where nothing fits, room is made by live migrations."""

from __future__ import annotations

from hpgreedy.placement.algorithms.algorithm import Algorithm
from hpgreedy.placement.algorithms.best_fit import why
from hpgreedy.placement.question import Question

GREEDY = Algorithm(
    name="greedy",
    summary="best fit; when nothing fits, the cheapest short chain of live migrations that makes room",
    source="HP Greedy's reassignment",
    choose=Question.least_free,
    why=why,
    makes_room=True,
)
