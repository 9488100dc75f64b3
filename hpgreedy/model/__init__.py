"""Hosts, demands and the cluster as immutable values."""

from hpgreedy.model.cluster import NOTHING, Claim, Cluster, Used
from hpgreedy.model.demand import Demand
from hpgreedy.model.file import cluster_of
from hpgreedy.model.host import Host, HostState, Node
from hpgreedy.model.rule import Rule, RuleKind

__all__ = [
    "NOTHING",
    "Claim",
    "Cluster",
    "Demand",
    "Host",
    "HostState",
    "Node",
    "Rule",
    "RuleKind",
    "Used",
    "cluster_of",
]
