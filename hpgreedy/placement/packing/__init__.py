"""Vector bin packing of a whole batch, better the longer it may take. Pure but for the clock it is given."""

from hpgreedy.placement.packing.problem import NOWHERE, Problem, Solution, fault, objective, packing_problem
from hpgreedy.placement.packing.solve import pack

__all__ = ["NOWHERE", "Problem", "Solution", "fault", "objective", "pack", "packing_problem"]
