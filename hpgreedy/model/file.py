"""From a cluster file to a cluster."""

from __future__ import annotations

from hpgreedy.model.cluster import Claim, Cluster
from hpgreedy.model.demand import Demand
from hpgreedy.model.host import Host, HostState
from protocol.spec import ClusterFile, HostSpec, Memory, SpecError


def cluster_of(file: ClusterFile) -> tuple[Cluster, tuple[Demand, ...]]:
    """The hosts with the VMs that are placed on them, and the VMs still to be placed, in file order.

    A cluster file says nothing of networks, so every host is taken to have those that its VMs name.
    Raises SpecError for a VM on an unknown host and for a host that holds more than it has.
    """
    demands = [Demand.of_spec(spec) for spec in file.vms]
    bridges = frozenset[str]().union(*(demand.bridges for demand in demands))
    networks = frozenset[str]().union(*(demand.networks for demand in demands))
    hosts = {spec.key: _host_of(spec, bridges, networks) for spec in file.hosts}
    claims = []
    for n, demand in enumerate(demands):
        if demand.wanted_host is None:
            continue
        if demand.wanted_host not in hosts:
            raise _unknown_host(n, demand.wanted_host, hosts)
        claims.append(Claim(demand=demand, host=demand.wanted_host))
    cluster = Cluster(hosts, tuple(claims))
    for n, host in enumerate(hosts.values()):
        _refuse_overfull(n, host, cluster)
    return cluster, tuple(demand for demand in demands if demand.wanted_host is None)


def _host_of(spec: HostSpec, bridges: frozenset[str], networks: frozenset[str]) -> Host:
    return Host(
        key=spec.key,
        cpu=spec.cpu,
        memory=int(spec.memory),
        cpu_overcommit=spec.cpu_overcommit,
        memory_overcommit=spec.memory_overcommit,
        labels=spec.labels,
        resources=spec.resources,
        state=HostState(spec.state),
        bridges=bridges,
        networks=networks,
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
        problems.append(f"{used.cpu} cpus and may give out {host.cpu_capacity:g}")
    if used.memory > host.memory_capacity:
        problems.append(f"{Memory(used.memory)} and may give out {Memory(int(host.memory_capacity))}")
    for name, count in used.resources.items():
        if count > host.resources.get(name, 0):
            problems.append(f"{count} {name} and has {host.resources.get(name, 0)}")
    if problems:
        raise SpecError(
            f"hosts[{n}] (id {host.key!r}) is overfull: its VMs hold {', '.join(problems)}", f"hosts[{n}]"
        )
