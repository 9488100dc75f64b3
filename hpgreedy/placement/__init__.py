"""Where a VM goes, and why: constraints, algorithms and their explanation. Pure and deterministic."""

from hpgreedy.placement.algorithms import ALGORITHMS, DEFAULT, known
from hpgreedy.placement.batch import Batch, place_all
from hpgreedy.placement.constraints import check, fits
from hpgreedy.placement.decide import carried_out, decide
from hpgreedy.placement.decision import Algorithm, Move, NotPlaced, Placed, Reason, Rejection

__all__ = [
    "ALGORITHMS",
    "DEFAULT",
    "Algorithm",
    "Batch",
    "Move",
    "NotPlaced",
    "Placed",
    "Reason",
    "Rejection",
    "carried_out",
    "check",
    "decide",
    "fits",
    "known",
    "place_all",
]
