"""NUMA nodes of one host: what is free on each, and which ones a VM would get."""

from __future__ import annotations

from hpgreedy.model import Claim, Demand, Host


class Nodes:
    """The free vCPUs and MiB of each node. VMs that float over their host take of no node."""

    __slots__ = ("capacity", "cpu", "memory")

    def __init__(self, host: Host) -> None:
        self.capacity = host.node_capacities
        self.cpu = [cpu for cpu, _ in self.capacity]
        self.memory = [memory for _, memory in self.capacity]

    def hold(self, claim: Claim, sign: int) -> None:
        """Take (-1) or give back (+1) the claim's shares of its nodes; unknown nodes are passed over."""
        if not claim.demand.numa:
            return
        cpu, memory = claim.demand.numa_share
        for node in claim.numa_nodes:
            if node < len(self.cpu):
                self.cpu[node] += sign * cpu
                self.memory[node] += sign * memory

    def place(self, demand: Demand) -> tuple[int, ...] | None:
        """The nodes for a demand that asks for some, those it fills best; None when too few have room."""
        cpu, memory = demand.numa_share
        fitting = [
            ((self.cpu[n] - cpu) / max(whole[0], 1) + (self.memory[n] - memory) / max(whole[1], 1), n)
            for n, whole in enumerate(self.capacity)
            if self.cpu[n] >= cpu and self.memory[n] >= memory
        ]
        if len(fitting) < demand.numa:
            return None
        return tuple(sorted(n for _, n in sorted(fitting)[: demand.numa]))

    def nth_largest(self, count: int) -> tuple[int, int]:
        """The vCPUs and MiB that `count` nodes have at least, each taken by itself; 0 with fewer nodes."""
        if count > len(self.cpu):
            return 0, 0
        return sorted(self.cpu)[-count], sorted(self.memory)[-count]
