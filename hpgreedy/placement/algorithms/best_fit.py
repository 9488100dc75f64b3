"""Best fit: the host that the VM fills best.

What is left over on a host is the sum of its free vCPUs, memory and units of every further resource, each
in 65,536ths of the largest capacity any host has of it, rounded down. What the VM takes is the same
everywhere, so the host with the least free before is the one with the least left over. One scale for all
hosts: with hosts that differ in one quantity alone the order is that of the plain remainder. Resources the VM
does not ask for count too: they keep it off the hosts that offer them.
"""

from __future__ import annotations

from hpgreedy.placement.algorithms.algorithm import Algorithm
from hpgreedy.placement.fleet import CPU, MEMORY
from hpgreedy.placement.question import Question
from hpgreedy.placement.words import size


def why(question: Question, position: int) -> str:
    """What speaks for it."""
    columns, demand = question.fleet.columns, question.demand
    left = size(columns[CPU].values[position] - demand.cpu, columns[MEMORY].values[position] - demand.memory)
    return f"it leaves the least on {question.host(position).key} ({left} free after it)"


BEST_FIT = Algorithm(
    name="best_fit",
    summary="the host that has the least left over, all its resources on one scale",
    source="a classic of bin packing",
    choose=Question.least_free,
    why=why,
)
