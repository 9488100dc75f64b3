"""What hosts offer and what is held on them: from records and reports to placement's hosts and claims."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from hpgreedy.model import Claim, Host, HostState, Node
from hpgreedy.operations.records import HostRecord, OperationRecord, VmRecord
from hpgreedy.placement import Fleet
from protocol.messages import NumaFacts

if TYPE_CHECKING:
    from hpgreedy.operations.world import Now, World

SILENT = "nothing is heard of it"
"""Why a silent host takes nothing; without the seconds, which change all the time."""


def host_of(world: World, record: HostRecord, now: Now) -> Host:
    """A host as placement sees it."""
    live, hello = world.live_of(record.name), record.hello
    capacity = live.report.capacity if live.report is not None else hello.capacity
    state, problem = world.host_state(record.name, now)
    return Host(
        key=record.name,
        cpu=capacity.cpus,
        memory=capacity.memory_mib,
        cpu_overcommit=capacity.cpu_overcommit,
        memory_overcommit=capacity.memory_overcommit,
        labels=hello.labels,
        resources=capacity.resources,
        numa=nodes_of(hello.numa),
        state=state,
        problem=SILENT if state is HostState.UNREACHABLE and not live.left else problem,
        networks=frozenset(hello.networks),
        bridges=frozenset(hello.bridges),
        pools=frozenset(pool.name for pool in world.pools(record.name)),
        # A host that names none cannot say what it offers.
        cpu_models=frozenset(hello.cpu_models) or None,
        offer_cpu=hello.offer_cpu,
        accelerator=hello.accelerator.kind,
        names_taken=frozenset(name for uuid, name in live.names.items() if uuid not in world.by_uuid),
    )


def nodes_of(facts: Iterable[NumaFacts]) -> tuple[Node, ...]:
    """The NUMA nodes so that each stands at its number; numbers that are missing have nothing."""
    found = {fact.node: Node(cpu=fact.cpus, memory=fact.memory_mib) for fact in facts}
    nothing = Node(cpu=0, memory=0)
    return tuple(found.get(n, nothing) for n in range(max(found, default=-1) + 1))


def claims_of(world: World, vm: VmRecord) -> tuple[Claim, ...]:
    """What a VM holds: where it is, and at both ends of its open migration."""
    nodes = {} if vm.host is None else {vm.host: vm.numa_nodes}
    op = None if vm.operation is None else world.operations.get(vm.operation)
    if op is not None and op.kind == "migrate" and not op.done:
        nodes.update(ends_of(op))
    if not nodes:
        return ()
    fixed = vm.spec.pinned or vm.adopted or vm.operation is not None
    movable = not fixed and world.runs(vm)
    demand = vm.demand
    return tuple(
        Claim(demand=demand, host=host, movable=movable, numa_nodes=held) for host, held in nodes.items()
    )


def ends_of(op: OperationRecord) -> dict[str, tuple[int, ...]]:
    """The hosts of a migration with the NUMA nodes that the VM has there."""
    numa = op.args.get("numa", {})
    found = {}
    for end, host in (("source", op.source), ("target", op.target)):
        assert host is not None
        found[host] = tuple(numa.get(end, ()))
    return found


class LiveFleet:
    """One fleet for as long as the process runs. What has changed is only noted, and brought in when the
    fleet is asked for; its answers are those of a fleet built from the records at that moment.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._fleet = Fleet()
        self._held: dict[str, tuple[Claim, ...]] = {}
        self._hosts: dict[str, None] = {}
        self._vms: dict[str, None] = {}
        self._tried: dict[str, None] = {}

    def host_changed(self, name: str) -> None:
        """A host's record or what is known of it now has changed."""
        self._hosts[name] = None

    def vm_changed(self, key: str) -> None:
        """A VM, its operation or whether it runs has changed."""
        self._vms[key] = None

    def tried(self, keys: Iterable[str]) -> None:
        """Claims of these VMs are changed in the fleet itself, to try something; records say what holds."""
        self._tried.update(dict.fromkeys(keys))

    def current(self, now: Now) -> Fleet:
        """The fleet as the records have it."""
        fleet, known = self._fleet, self._world.hosts
        if any(name in known and name not in fleet.position for name in self._hosts):
            # The order of positions is that of registration, whatever was heard of first.
            self._hosts = {name: None for name in known if name in self._hosts} | self._hosts
        for name in self._hosts:
            if name in known:
                fleet.put_host(host_of(self._world, known[name], now))
            elif name in fleet.position:
                fleet.remove_host(name)
        for key in self._tried:
            self._put_again(key)
        for key in self._vms:
            self._put_vm(key)
        for changed in (self._hosts, self._vms, self._tried):
            changed.clear()
        return fleet

    def _put_vm(self, key: str) -> None:
        vm = self._world.vms.get(key)
        wanted = claims_of(self._world, vm) if vm is not None else ()
        held = self._held.get(key, ())
        if wanted == held:
            return
        for claim in held:
            if claim not in wanted:
                self._fleet.remove(key, claim.host)
        for claim in wanted:
            if claim not in held:
                self._fleet.add(claim)
        self._keep(key, wanted)

    def _put_again(self, key: str) -> None:
        self._vms.pop(key, None)
        for host in [self._fleet.hosts[position].key for position in self._fleet.places(key)]:
            self._fleet.remove(key, host)
        vm = self._world.vms.get(key)
        wanted = claims_of(self._world, vm) if vm is not None else ()
        for claim in wanted:
            self._fleet.add(claim)
        self._keep(key, wanted)

    def _keep(self, key: str, claims: tuple[Claim, ...]) -> None:
        if claims:
            self._held[key] = claims
        else:
            self._held.pop(key, None)


def all_claims(world: World) -> Iterator[Claim]:
    """The claims of all VMs."""
    for vm in world.vms.values():
        yield from claims_of(world, vm)
