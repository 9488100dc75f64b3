"""The rules of placement written down a second time, in the plainest way.

Every question is a scan of a cluster value. Nothing of `hpgreedy.placement` is used.
"""

import itertools
import math

from hpgreedy.model import Cluster, HostState, RuleKind

GROUPED = (RuleKind.APART, RuleKind.TOGETHER)


def held_on(cluster, key):
    return [claim.demand for claim in cluster.claims if claim.host == key]


def offered(host):
    """What a host may give out, by name."""
    whole = {name: count for name, count in host.resources.items() if count}
    whole["cpu"] = math.floor(round((host.cpu - host.reserve_cpu) * host.cpu_overcommit, 6))
    whole["memory"] = math.floor(round((host.memory - host.reserve_memory) * host.memory_overcommit, 6))
    return whole


def needed(demand):
    return {**demand.resources, "cpu": demand.cpu, "memory": demand.memory}


def free_on(cluster, key):
    """What is free on a host, by name; below 0 where more is held than there is."""
    free = offered(cluster.hosts[key])
    for demand in held_on(cluster, key):
        for name, amount in needed(demand).items():
            free[name] = free.get(name, 0) - amount
    return free


def share_of(demand):
    return math.ceil(demand.cpu / demand.numa), math.ceil(demand.memory / demand.numa)


def free_nodes(cluster, key):
    """The free vCPUs and memory of each NUMA node of a host."""
    host = cluster.hosts[key]
    free = [
        [
            math.floor(round(node.cpu * host.cpu_overcommit, 6)),
            math.floor(round(node.memory * host.memory_overcommit, 6)),
        ]
        for node in host.numa
    ]
    for claim in cluster.claims:
        if claim.host == key and claim.demand.numa:
            for node in claim.numa_nodes:
                if node < len(free):
                    free[node][0] -= share_of(claim.demand)[0]
                    free[node][1] -= share_of(claim.demand)[1]
    return free


def some_nodes(cluster, key, demand):
    """The first set of nodes inside which the demand fits; () when it floats, None when there is none."""
    if not demand.numa:
        return ()
    free, (cpu, memory) = free_nodes(cluster, key), share_of(demand)
    for nodes in itertools.combinations(range(len(free)), demand.numa):
        if all(free[node][0] >= cpu and free[node][1] >= memory for node in nodes):
            return nodes
    return None


def has_room(cluster, key, demand):
    free = free_on(cluster, key)
    return (
        all(amount <= max(free.get(name, 0), 0) for name, amount in demand.resources.items())
        and demand.cpu <= free["cpu"]
        and demand.memory <= free["memory"]
        and some_nodes(cluster, key, demand) is not None
    )


def same_place(cluster, one, other, scope):
    if one == other:
        return True
    if scope == "host":
        return False
    values = [cluster.hosts[key].labels.get(scope) for key in (one, other)]
    return values[0] is not None and values[0] == values[1]


def speaks_of(rule, host):
    if rule.hosts:
        return host.key in rule.hosts
    return all(host.labels.get(name) == value for name, value in rule.labels)


def broken_at(cluster, rule, demand, key):
    """How often the demand's rule would be broken with its VM on the host."""
    host = cluster.hosts[key]
    if rule.kind is RuleKind.NEAR:
        return 0 if speaks_of(rule, host) else 1
    if rule.kind is RuleKind.AVOID:
        return 1 if speaks_of(rule, host) else 0
    others = [
        claim.host
        for claim in cluster.claims
        if claim.host in cluster.hosts and claim.demand.key != demand.key and claim.demand.group == rule.group
    ]
    together = [same_place(cluster, key, other, rule.scope) for other in others]
    return sum(together) if rule.kind is RuleKind.APART else len(together) - sum(together)


def keeps_rules(cluster, key, demand):
    """Its own hard rules, and those of every placed VM about it."""
    for rule in demand.rules:
        if not rule.hard:
            continue
        if broken_at(cluster, rule, demand, key):
            return False
        if rule.kind in GROUPED and rule.scope not in ("host", *cluster.hosts[key].labels):
            return False
    for claim in cluster.claims:
        if claim.demand.key == demand.key or claim.host not in cluster.hosts:
            continue
        for rule in claim.demand.rules:
            if rule.hard and rule.kind in GROUPED and demand.group == rule.group:
                same = same_place(cluster, key, claim.host, rule.scope)
                if same is (rule.kind is RuleKind.APART):
                    return False
    return True


def allowed(cluster, key, demand):
    """Whether the host takes the demand as things stand."""
    host = cluster.hosts[key]
    return (
        host.state is HostState.UP
        and demand.wanted_host in (None, key)
        and all(host.labels.get(name) == value for name, value in demand.host_labels.items())
        and (host.bridges is None or demand.bridges <= host.bridges)
        and (host.networks is None or demand.networks <= host.networks)
        and (host.pools is None or demand.pool is None or demand.pool in host.pools)
        and (host.cpu_models is None or demand.cpu_model is None or demand.cpu_model in host.cpu_models)
        and (not host.accelerator or demand.accelerator in (None, host.accelerator))
        and demand.key not in host.names_taken
        and not any(claim.demand.key == demand.key and claim.host == key for claim in cluster.claims)
        and has_room(cluster, key, demand)
        and keeps_rules(cluster, key, demand)
    )


def takers(cluster, demand):
    """The hosts that take the demand, in order of registration."""
    return [key for key in cluster.hosts if allowed(cluster, key, demand)]


def cost_at(cluster, demand, key):
    """The sum of the weights of the soft rules that the demand would break on the host."""
    return round(
        sum(rule.weight * broken_at(cluster, rule, demand, key) for rule in demand.rules if not rule.hard), 9
    )


def candidates(cluster, demand):
    """Of the hosts that take it those that break the least of its soft rules."""
    costs = {key: cost_at(cluster, demand, key) for key in takers(cluster, demand)}
    return [key for key, cost in costs.items() if cost == min(costs.values())]


def faults(cluster):
    """All that is wrong with a cluster: what is held beyond capacity, and every hard rule that is broken."""
    found = set()
    for key in cluster.hosts:
        found |= {("over", key, name, amount) for name, amount in free_on(cluster, key).items() if amount < 0}
        for n, amounts in enumerate(free_nodes(cluster, key)):
            found |= {("over node", key, n, amount) for amount in amounts if amount < 0}
    for claim in cluster.claims:
        if claim.host not in cluster.hosts:
            continue
        vm, at = claim.demand, claim.host
        alone = Cluster(cluster.hosts, tuple(c for c in cluster.claims if c.demand.key != vm.key))
        for rule in vm.rules:
            if rule.hard and rule.kind not in GROUPED and broken_at(alone, rule, vm, at):
                found.add(("rule", vm.key, at, rule))
            if rule.hard and rule.kind in GROUPED:
                found |= {
                    ("rule", vm.key, at, rule, other.demand.key, other.host)
                    for other in alone.claims
                    if broken_at(Cluster(cluster.hosts, (other,)), rule, vm, at)
                }
        if vm.numa and len(set(claim.numa_nodes)) != vm.numa:
            found.add(("nodes", vm.key, at))
    return found
