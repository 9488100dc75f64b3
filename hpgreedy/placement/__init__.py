"""Where a VM goes, and why: constraints, algorithms and their explanation. Pure and deterministic."""

from hpgreedy.placement.algorithms import ALGORITHMS, DEFAULT, Algorithm, known
from hpgreedy.placement.batch import Batch, place_all
from hpgreedy.placement.constraints import check, feasible
from hpgreedy.placement.decision import Move, NotPlaced, Placed, Reason, Rejection
from hpgreedy.placement.fleet import Fleet
from hpgreedy.placement.makeroom import Limits
from hpgreedy.placement.placer import Placer, carried_out, decide
from hpgreedy.placement.unknown import notices, unknown_names

__all__ = [
    "ALGORITHMS",
    "DEFAULT",
    "Algorithm",
    "Batch",
    "Fleet",
    "Limits",
    "Move",
    "NotPlaced",
    "Placed",
    "Placer",
    "Reason",
    "Rejection",
    "carried_out",
    "check",
    "decide",
    "feasible",
    "known",
    "notices",
    "place_all",
    "unknown_names",
]
