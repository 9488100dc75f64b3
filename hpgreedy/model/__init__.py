"""Hosts, demands and the cluster as immutable values."""

from hpgreedy.model.cluster import Claim, Cluster, Used
from hpgreedy.model.demand import Demand
from hpgreedy.model.file import cluster_of
from hpgreedy.model.host import Host, HostState

__all__ = ["Claim", "Cluster", "Demand", "Host", "HostState", "Used", "cluster_of"]
