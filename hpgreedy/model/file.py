"""From a cluster file to a cluster."""

from __future__ import annotations

from hpgreedy.model.cluster import Claim, Cluster
from hpgreedy.model.demand import Demand
from hpgreedy.model.host import Host, HostState, Node
from protocol.spec import ClusterFile, HostSpec, Memory, SpecError


def cluster_of(file: ClusterFile) -> tuple[Cluster, tuple[Demand, ...]]:
    """The hosts with the VMs that are placed on them, and the VMs still to be placed, in file order.

    Raises SpecError for a VM on an unknown host or NUMA node, and for a host that holds more than it has.
    """
    demands = [Demand.of_spec(spec) for spec in file.vms]
    hosts = {spec.key: _host_of(spec) for spec in file.hosts}
    claims = []
    for n, demand in enumerate(demands):
        if demand.wanted_host is None:
            continue
        if demand.wanted_host not in hosts:
            raise _unknown_host(n, demand.wanted_host, hosts)
        nodes = file.vms[n].numa_nodes or ()
        _refuse_unknown_node(n, nodes, hosts[demand.wanted_host])
        claims.append(Claim(demand=demand, host=demand.wanted_host, numa_nodes=nodes))
    cluster = Cluster(hosts, tuple(claims))
    for n, host in enumerate(hosts.values()):
        _refuse_overfull(n, host, cluster)
    return cluster, tuple(demand for demand in demands if demand.wanted_host is None)


def _host_of(spec: HostSpec) -> Host:
    return Host(
        key=spec.key,
        cpu=spec.cpu,
        memory=int(spec.memory),
        cpu_overcommit=spec.cpu_overcommit,
        memory_overcommit=spec.memory_overcommit,
        labels=spec.labels,
        resources=spec.resources,
        state=HostState(spec.state),
        reserve_cpu=spec.reserve_cpu,
        reserve_memory=int(spec.reserve_memory),
        numa=tuple(Node(cpu=node.cpu, memory=int(node.memory)) for node in spec.numa),
        networks=_names(spec.networks),
        bridges=_names(spec.bridges),
        pools=_names(spec.pools),
        cpu_models=_names(spec.cpu_models),
    )


def _names(given: tuple[str, ...] | None) -> frozenset[str] | None:
    return None if given is None else frozenset(given)


def _refuse_unknown_node(n: int, nodes: tuple[int, ...], host: Host) -> None:
    for node in nodes:
        if node >= len(host.numa):
            nodes_there = f"its last node is {len(host.numa) - 1}" if host.numa else "it has no field numa"
            raise SpecError(
                f"vms[{n}].numa_nodes has {node}, which host {host.key!r} lacks; {nodes_there}",
                f"vms[{n}].numa_nodes",
            )


def _unknown_host(n: int, wanted: str, hosts: dict[str, Host]) -> SpecError:
    known = ", ".join(list(hosts)[:8]) + (", ..." if len(hosts) > 8 else "")
    return SpecError(
        f"vms[{n}].host is {wanted!r}; it must be the id of a host of the file"
        + (f" ({known})" if hosts else ", and the file has no hosts"),
        f"vms[{n}].host",
    )


def _refuse_overfull(n: int, host: Host, cluster: Cluster) -> None:
    used = cluster.used(host.key)
    problems = []
    if used.cpu > host.cpu_capacity:
        problems.append(f"{used.cpu} cpus and may give out {host.cpu_capacity}")
    if used.memory > host.memory_capacity:
        problems.append(f"{Memory(used.memory)} and may give out {Memory(host.memory_capacity)}")
    for name, count in used.resources.items():
        if count > host.resources.get(name, 0):
            problems.append(f"{count} {name} and has {host.resources.get(name, 0)}")
    problems += _overfull_nodes(host, cluster)
    if problems:
        raise SpecError(
            f"hosts[{n}] (id {host.key!r}) is overfull: its VMs hold {', '.join(problems)}", f"hosts[{n}]"
        )


def _overfull_nodes(host: Host, cluster: Cluster) -> list[str]:
    held = [[0, 0] for _ in host.numa]
    for claim in cluster.claims_on(host.key):
        for node in claim.numa_nodes:
            share = claim.demand.numa_share
            held[node][0] += share[0]
            held[node][1] += share[1]
    problems = []
    for node, ((cpu, memory), (cpus, mib)) in enumerate(zip(host.node_capacities, held, strict=True)):
        if cpus > cpu:
            problems.append(f"{cpus} cpus on NUMA node {node}, which may give out {cpu}")
        if mib > memory:
            problems.append(f"{Memory(mib)} on NUMA node {node}, which may give out {Memory(memory)}")
    return problems
