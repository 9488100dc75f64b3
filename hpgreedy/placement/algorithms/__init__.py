"""The algorithms by name. A new one is a module of its own and one line here."""

from __future__ import annotations

from hpgreedy.placement.algorithms.algorithm import Algorithm
from hpgreedy.placement.algorithms.best_fit import BEST_FIT
from hpgreedy.placement.algorithms.delayed import DELAYED
from hpgreedy.placement.algorithms.dot_product import DOT_PRODUCT
from hpgreedy.placement.algorithms.epsilon_greedy import EPSILON_GREEDY
from hpgreedy.placement.algorithms.first_fit import FIRST_FIT
from hpgreedy.placement.algorithms.greedy import GREEDY
from hpgreedy.placement.algorithms.next_fit import NEXT_FIT
from hpgreedy.placement.algorithms.norm import NORM
from hpgreedy.placement.algorithms.packed import PACKED
from hpgreedy.placement.algorithms.weight_balanced import WEIGHT_BALANCED
from hpgreedy.placement.algorithms.worst_fit import WORST_FIT
from protocol.spec import SpecError

__all__ = ["ALGORITHMS", "DEFAULT", "Algorithm", "known"]

ALGORITHMS: dict[str, Algorithm] = {
    algorithm.name: algorithm
    for algorithm in (
        BEST_FIT,
        DELAYED,
        DOT_PRODUCT,
        EPSILON_GREEDY,
        FIRST_FIT,
        GREEDY,
        NEXT_FIT,
        NORM,
        PACKED,
        WEIGHT_BALANCED,
        WORST_FIT,
    )
}
DEFAULT = GREEDY.name


def known(name: str) -> Algorithm:
    """The algorithm of that name; raises SpecError that lists the known ones."""
    algorithm = ALGORITHMS.get(name)
    if algorithm is None:
        raise SpecError(f"algorithm is {name!r}; known are {', '.join(sorted(ALGORITHMS))}", "algorithm")
    return algorithm
