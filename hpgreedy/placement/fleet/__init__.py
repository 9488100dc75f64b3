"""Hosts and what is held on them, kept up to date change by change, with an index to ask for hosts."""

from hpgreedy.placement.fleet.fleet import CPU, MEMORY, Fleet
from hpgreedy.placement.fleet.masks import lowest, positions

__all__ = ["CPU", "MEMORY", "Fleet", "lowest", "positions"]
