"""Hosts, demands and the cluster as immutable values."""

from hpgreedy.model.cluster import NOTHING, Claim, Cluster, Scale, Used
from hpgreedy.model.demand import Demand
from hpgreedy.model.file import cluster_of
from hpgreedy.model.host import Host, HostState

__all__ = ["NOTHING", "Claim", "Cluster", "Demand", "Host", "HostState", "Scale", "Used", "cluster_of"]
