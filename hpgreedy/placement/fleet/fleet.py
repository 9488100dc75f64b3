"""The fleet: hosts and claims as they stand, changed in place, and the masks that follow from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hpgreedy.model import Claim, Cluster, Demand, Host, HostState, Used
from hpgreedy.placement.fleet.changes import Changes
from hpgreedy.placement.fleet.column import Column
from hpgreedy.placement.fleet.features import Features
from hpgreedy.placement.fleet.groups import Groups, Watch
from hpgreedy.placement.fleet.numa import Nodes
from hpgreedy.placement.fleet.order import Order

CPU, MEMORY = 0, 1
SHARE_BITS = 16
"""What is free is compared across quantities in 2 ** -16 of the largest host's capacity."""


class Fleet:
    """Hosts by position, in order of registration, and the claims on them.

    A claim on a host that is not there is kept and counts nowhere. `everything` is the mask of all hosts,
    `up` of those that take VMs, `with_nodes` of those that say what NUMA nodes they have. The position of a
    host that has gone stays empty: one that comes back comes last. Whatever the changes were, the fleet
    answers as one that is made anew of its `cluster()` does.
    """

    def __init__(self, cluster: Cluster | None = None) -> None:
        self.hosts: list[Host] = []
        self.position: dict[str, int] = {}
        self.everything = 0
        self.up = 0
        self.columns: list[Column] = [Column(0), Column(0)]
        self.row: dict[str, int] = {}
        self.fullness = Order(1, [])
        self.features = Features()
        self.groups = Groups()
        self.nodes: dict[int, Nodes] = {}
        self.with_nodes = 0
        self.eligible: dict[object, int] = {}
        self.changes = Changes()
        self._claims: list[dict[str, Claim]] = []
        self._places: dict[str, tuple[int, ...]] = {}
        self._strays: dict[tuple[str, str], Claim] = {}
        self._numa_rows: dict[int, tuple[Column, Column]] = {}
        if cluster is not None:
            self._fill(cluster)

    # Hosts

    def put_host(self, host: Host) -> None:
        """A host that is new or has changed."""
        position = self.position.get(host.key)
        before = None if position is None else self.hosts[position]
        if host == before:
            return
        if position is None:
            position = self._append(host.key)
        self._put_features(position, before, host)
        self._put_capacity(position, host)
        for key, held in [pair for pair in self._strays if pair[1] == host.key]:
            self.add(self._strays.pop((key, held)))

    def remove_host(self, key: str) -> None:
        """A host is gone; the claims on it are kept and count nowhere."""
        position = self.position[key]
        for claim in list(self._claims[position].values()):
            self.remove(claim.demand.key, key)
            self._strays[claim.demand.key, key] = claim
        bit = 1 << position
        self.features.put(bit, self.hosts[position], None)
        self.changes.note(position)
        self._put_capacity(position, Host(key=key, cpu=0, memory=0))
        del self.position[key]
        self.everything &= ~bit
        self.up &= ~bit
        self.eligible.clear()

    def standing_hosts(self) -> Iterator[tuple[int, Host]]:
        """The hosts with their positions."""
        return ((n, host) for n, host in enumerate(self.hosts) if self.everything >> n & 1)

    # Claims

    def add(self, claim: Claim) -> None:
        """Something more is held."""
        position = self.position.get(claim.host)
        if position is None:
            self._strays[claim.demand.key, claim.host] = claim
            return
        key = claim.demand.key
        here = self._claims[position]
        if key in here:
            self.remove(key, claim.host)
        here[key] = claim
        self._places[key] = (*self._places.get(key, ()), position)
        self._hold(position, claim, -1)

    def remove(self, vm: str, host: str) -> Claim | None:
        """The VM's claim on the host, which is held no more; None when there was none."""
        position = self.position.get(host)
        claim = self._claims[position].pop(vm, None) if position is not None else None
        if claim is None or position is None:
            return self._strays.pop((vm, host), None)
        left = tuple(place for place in self._places[vm] if place != position)
        if left:
            self._places[vm] = left
        else:
            del self._places[vm]
        self._hold(position, claim, 1)
        return claim

    def move(self, vm: str, source: str, target: str, numa_nodes: tuple[int, ...] = ()) -> None:
        """The VM's claim goes to another host."""
        claim = self.remove(vm, source)
        assert claim is not None
        self.add(Claim(demand=claim.demand, host=target, movable=claim.movable, numa_nodes=numa_nodes))

    def claims_on(self, position: int) -> Iterable[Claim]:
        """The claims on the host, oldest first."""
        return self._claims[position].values()

    def count(self, position: int) -> int:
        """How many claims stand on the host."""
        return len(self._claims[position])

    def claims(self) -> Iterator[Claim]:
        """All claims, by host."""
        for here in self._claims:
            yield from here.values()
        yield from self._strays.values()

    def places(self, vm: str) -> tuple[int, ...]:
        """The positions of the hosts on which something is held for the VM."""
        return self._places.get(vm, ())

    def members(self, group: str, without: str) -> dict[int, int]:
        """How many VMs of the group stand at each position, `without` one of them; one that is being moved
        stands at both ends.
        """
        return self.groups.members(group, self._own(without))

    def watches(self, group: str, without: str) -> Iterator[tuple[Watch, tuple[int, ...]]]:
        """The hard rules about the group and where the VMs stand that have them, `without` one VM's own."""
        return self.groups.watches(group, self._own(without))

    def cluster(self) -> Cluster:
        """The fleet as it stands, as a value."""
        hosts = {host.key: host for _, host in self.standing_hosts()}
        return Cluster(hosts, tuple(self.claims()))

    # Room

    def needs(self, demand: Demand) -> list[tuple[int, int]]:
        """The demand as (row, amount), without resources that no host has and nobody holds."""
        needs = [(CPU, demand.cpu), (MEMORY, demand.memory)]
        row = self.row
        for name, amount in demand.resources.items():
            if name in row:
                needs.append((row[name], amount))
        return needs

    def with_at_least(self, name: str, amount: int) -> int:
        """The mask of the hosts with that many units of a resource free."""
        row = self.row.get(name)
        return 0 if row is None else self.columns[row].at_least(amount)

    def with_about(self, name: str, amount: int) -> int:
        """Those hosts and maybe some that have fewer; see `Column.about`."""
        row = self.row.get(name)
        return 0 if row is None else self.columns[row].about(amount)

    def free(self, position: int, name: str) -> int:
        """The units of a resource that are free on the host; below 0 where more is held than there is."""
        row = self.row.get(name)
        return 0 if row is None else self.columns[row].values[position]

    def used(self, position: int) -> Used:
        """What is held on the host."""
        host, free = self.hosts[position], [column.values[position] for column in self.columns]
        return Used(
            cpu=host.cpu_capacity - free[CPU],
            memory=host.memory_capacity - free[MEMORY],
            resources={
                name: held
                for name, row in self.row.items()
                if (held := host.resources.get(name, 0) - free[row])
            },
            count=len(self._claims[position]),
        )

    def numa_columns(self, count: int) -> tuple[Column, Column]:
        """vCPUs and MiB that at least `count` NUMA nodes of each host have free, each taken by itself."""
        if count not in self._numa_rows:
            self._numa_rows[count] = (Column(len(self.hosts)), Column(len(self.hosts)))
            for position, nodes in self.nodes.items():
                self._put_numa(count, position, nodes)
        return self._numa_rows[count]

    # Inside

    def _own(self, vm: str) -> tuple[tuple[int, Demand], ...]:
        return tuple((position, self._claims[position][vm].demand) for position in self.places(vm))

    def _fill(self, cluster: Cluster) -> None:
        for host in cluster.hosts.values():
            self._claims.append({})
            self.position[host.key] = len(self.hosts)
            self.hosts.append(host)
        self.columns = [Column(len(self.hosts)), Column(len(self.hosts))]
        for host in cluster.hosts.values():
            for name in host.resources:
                self._row(name)
        for position, host in enumerate(cluster.hosts.values()):
            self._put_features(position, None, host)
            self._put_capacity(position, host, ordered=False)
        self._reorder()
        for claim in cluster.claims:
            self.add(claim)

    def _append(self, key: str) -> int:
        position = len(self.hosts)
        self.position[key] = position
        self.hosts.append(Host(key=key, cpu=0, memory=0))
        self._claims.append({})
        for column in self._all_columns():
            column.append()
        self.fullness.append()
        return position

    def _put_features(self, position: int, before: Host | None, host: Host) -> None:
        bit = 1 << position
        stands = before is not None and before.state is host.state
        if self.features.put(bit, before, host) or not stands:
            self.eligible.clear()
            self.changes.note(position)
        self.everything |= bit
        self.up = self.up | bit if host.state is HostState.UP else self.up & ~bit

    def _put_capacity(self, position: int, host: Host, *, ordered: bool = True) -> None:
        before = self.hosts[position]
        bit = 1 << position
        self.hosts[position] = host
        for name in (*host.resources, *before.resources):
            self._row(name)
        offers = [
            host.cpu_capacity,
            host.memory_capacity,
            *(host.resources.get(name, 0) for name in self.row),
        ]
        rescaled = False
        for column, offered in zip(self.columns, offers, strict=True):
            offered_before, largest = column.capacity[position], column.largest
            column.offer(position, offered)
            column.put(position, bit, offered - (offered_before - column.values[position]))
            if offered > largest:
                column.largest = offered
            elif offered < offered_before == largest:
                column.largest = max(1, *column.capacity)
            rescaled |= column.largest != largest
        self._renew_nodes(position, host)
        self.changes.note(position)
        if ordered and rescaled:
            self._reorder()
        elif ordered:
            self.fullness.put(position, bit, self._fullness(position))

    def _renew_nodes(self, position: int, host: Host) -> None:
        if not host.numa and position not in self.nodes:
            return
        nodes = self.nodes[position] = Nodes(host)
        bit = 1 << position
        self.with_nodes = self.with_nodes | bit if host.numa else self.with_nodes & ~bit
        for claim in self._claims[position].values():
            nodes.hold(claim, -1)
        for count in self._numa_rows:
            self._put_numa(count, position, nodes)

    def _hold(self, position: int, claim: Claim, sign: int) -> None:
        bit = 1 << position
        demand = claim.demand
        if not demand.resources.keys() <= self.row.keys():
            for name in demand.resources:
                self._row(name)
        key = self.fullness.keys[position]
        for row, amount in self.needs(demand):
            column = self.columns[row]
            before = column.values[position]
            after = before + sign * amount
            column.put(position, bit, after)
            largest = column.largest
            key += ((after << SHARE_BITS) // largest if after > 0 else 0) - (
                (before << SHARE_BITS) // largest if before > 0 else 0
            )
        self.fullness.put(position, bit, key)
        if demand.group is not None or demand.rules:
            self.groups.count(position, demand, -sign)
        self.changes.note(position)
        if claim.numa_nodes and position in self.nodes:
            self.nodes[position].hold(claim, sign)
            for count in self._numa_rows:
                self._put_numa(count, position, self.nodes[position])

    def _put_numa(self, count: int, position: int, nodes: Nodes) -> None:
        for column, free in zip(self._numa_rows[count], nodes.nth_largest(count), strict=True):
            column.put(position, 1 << position, free)

    def _fullness(self, position: int) -> int:
        return sum(
            (max(column.values[position], 0) << SHARE_BITS) // column.largest for column in self.columns
        )

    def _reorder(self) -> None:
        bits = (len(self.columns) << SHARE_BITS).bit_length()
        self.fullness = Order(bits, [self._fullness(position) for position in range(len(self.hosts))])

    def _row(self, name: str) -> None:
        if name not in self.row:
            self.row[name] = len(self.columns)
            self.columns.append(Column(len(self.hosts)))
            self._reorder()

    def _all_columns(self) -> Iterator[Column]:
        yield from self.columns
        for pair in self._numa_rows.values():
            yield from pair
