"""Making room: a short chain of live migrations after which a VM fits."""

from hpgreedy.placement.makeroom.plan import Limits, Plan, Search
from hpgreedy.placement.makeroom.search import search

__all__ = ["Limits", "Plan", "Search", "search"]
