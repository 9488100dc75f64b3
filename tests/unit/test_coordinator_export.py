"""A decision on an exported cluster is the coordinator's own: same hosts, same moves, same nodes."""

from __future__ import annotations

import random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from hpgreedy.coordinator.export import cluster_file
from hpgreedy.model import Demand, cluster_of
from hpgreedy.operations.engine import Engine
from hpgreedy.operations.records import Meta, VmRecord
from hpgreedy.operations.world import Now, Settings, World
from hpgreedy.placement import NotPlaced, Placed, Placer, decide
from protocol.messages import Accelerator, Capacity, DomainReport, Hello, NumaFacts, PoolFacts, Report, Usage
from protocol.spec import VmSpec, decode_spec, encode_spec, parse_cluster_file

NOW = Now(1e6, 100.0)
MODELS = ("Westmere", "Haswell", "Skylake")


def uuid_of(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012d}"


def cluster_drawn(chance: random.Random) -> World:
    """Three to five hosts that differ in all that a VM can ask for, and VMs wherever they fit."""
    world = World(Meta(cluster="ab" * 16), Settings())
    engine = Engine(world)
    hellos = [hello_drawn(number, chance) for number in range(1, chance.choice([4, 5, 6]))]
    for hello in hellos:
        engine.host_hello(NOW, f"key-{hello.name}", hello)
        report(engine, hello, ())
    for number in range(chance.choice([2, 6, 10])):
        spec = spec_drawn(f"v{number}", chance)
        answer = Placer(world.fleet(NOW)).decide(Demand.of_spec(spec), "worst_fit")
        if isinstance(answer, Placed):
            world.vms[spec.key] = VmRecord(
                spec=spec,
                uuid=uuid_of(1000 + number),
                macs=(),
                max_cpu=spec.cpu,
                max_memory=int(spec.memory),
                owner="ann",
                created=float(number),
                made_by=0,
                host=answer.host,
                made=True,
                adopted=chance.random() < 0.1,
                numa_nodes=answer.numa_nodes,
                cpu_model=spec.cpu_model or chance.choice([None, None, "Haswell"]),
            )
    for hello in hellos:
        here = [vm for vm in world.vms.values() if vm.host == hello.name and chance.random() < 0.9]
        report(engine, hello, tuple(here))
        if chance.random() < 0.1:
            world.hosts[hello.name] = msgspec.structs.replace(world.hosts[hello.name], draining=True)
    return world


def hello_drawn(number: int, chance: random.Random) -> Hello:
    cpus = chance.choice([4, 8])
    gaps = chance.choice([(0, 1), (0, 1), (0, 2), ()])
    return Hello(
        host_id=uuid_of(number),
        name=f"h{number}",
        boot_id="b",
        hypervisor="x",
        hypervisor_uuid=uuid_of(100 + number),
        address="a",
        migrate_uri="u",
        capacity=Capacity(
            cpus=cpus - chance.choice([0, 0, 1]), memory_mib=cpus * 1000,
            cpu_overcommit=chance.choice([1.0, 1.5]),
            resources={"gpu": 1} if chance.random() < 0.3 else {},
        ),
        accelerator=Accelerator(kind="kvm", reason=""),
        labels={"rack": chance.choice("ab")},
        bridges=("br0", "br1")[: chance.choice([1, 2])],
        networks=("blue",) if chance.random() < 0.6 else (),
        pools=(PoolFacts(name=chance.choice(["fast", "slow"]), path="/p", storage_id="s"),),
        cpu_models=MODELS[: chance.choice([1, 2, 3])] if chance.random() < 0.8 else (),
        numa=tuple(
            NumaFacts(node=n, cpuset=str(n), cpus=cpus // 2, memory_mib=cpus * 512) for n in gaps
        ),
    )  # fmt: skip


def spec_drawn(name: str, chance: random.Random) -> VmSpec:
    raw: dict[str, object] = {"id": name, "cpu": chance.choice([1, 2, 3]), "memory": chance.choice([1, 2, 3])}
    for field, values in {
        "numa": [1, 2],
        "pool": ["fast", "slow"],
        "cpu_model": ["Haswell", "Skylake"],
        "nics": [[{"bridge": "br1"}], [{"network": "blue"}]],
        "host_labels": [{"rack": "a"}],
        "resources": [{"gpu": 1}],
        "group": ["g"],
        "pinned": [True],
        "affinity": [
            [{"rule": "apart", "group": "g"}],
            [{"rule": "near", "hosts": ["h1", "h2"], "hard": False}],
        ],
    }.items():
        if chance.random() < 0.12:
            raw[field] = chance.choice(values)
    if raw.get("numa", 1) > raw["cpu"]:  # type: ignore[operator]
        del raw["numa"]
    return decode_spec(raw, VmSpec)


def report(engine: Engine, hello: Hello, running: tuple[VmRecord, ...]) -> None:
    domains = tuple(DomainReport(uuid=vm.uuid, name=vm.key, state="running", ours=True) for vm in running)
    engine.host_report(
        NOW, hello.name, Report(seq=1, at=0.0, capacity=hello.capacity, usage=Usage(), domains=domains)
    )


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_offline_as_online(seed: int) -> None:
    chance = random.Random(seed)
    world = cluster_drawn(chance)
    file = encode_spec(cluster_file(world, NOW))
    cluster, waiting = cluster_of(parse_cluster_file(file, simulation=True))
    assert waiting == ()
    numbers = {
        name: [n for n, node in enumerate(host.numa) if node.cpu]
        for host in world.fleet(NOW).hosts
        for name in [host.key]
    }
    for n in range(4):
        spec = spec_drawn(f"new{n}", chance)
        demand = Demand.of_spec(spec)
        for algorithm in ("greedy", "best_fit", "dot_product"):
            online = Placer(world.fleet(NOW), world.limits()).decide(demand, algorithm)
            offline = decide(cluster, demand, algorithm)
            assert type(online) is type(offline)
            if isinstance(online, NotPlaced) or isinstance(offline, NotPlaced):
                assert isinstance(online, NotPlaced)
                assert isinstance(offline, NotPlaced)
                assert [(r.host, r.reason) for r in online.rejections] == [
                    (r.host, r.reason) for r in offline.rejections
                ]
                continue
            assert (online.host, online.runner_up) == (offline.host, offline.runner_up)
            assert online.numa_nodes == tuple(numbers[offline.host][n] for n in offline.numa_nodes)
            assert [(m.vm, m.source, m.target) for m in online.moves] == [
                (m.vm, m.source, m.target) for m in offline.moves
            ]


def test_node_numbers_with_a_gap_are_counted_in_the_file() -> None:
    world = World(Meta(cluster="ab" * 16), Settings())
    hello = msgspec.structs.replace(
        hello_drawn(1, random.Random(0)),
        capacity=Capacity(cpus=3, memory_mib=3000),
        numa=tuple(NumaFacts(node=n, cpuset=str(n), cpus=2, memory_mib=2048) for n in (0, 3)),
    )
    engine = Engine(world)
    engine.host_hello(NOW, "key", hello)
    spec = decode_spec({"id": "a", "cpu": 1, "memory": 1, "numa": 1}, VmSpec)
    world.vms["a"] = VmRecord(
        spec=spec, uuid=uuid_of(1), macs=(), max_cpu=1, max_memory=1024, owner="ann", created=0.0, made_by=0,
        host="h1", made=True, numa_nodes=(3,),
    )  # fmt: skip
    report(engine, hello, tuple(world.vms.values()))
    found = cluster_file(world, NOW)
    assert found.vms[0]["numa_nodes"] == [1]
    assert len(found.hosts[0]["numa"]) == 2
    assert (found.hosts[0]["cpu"], found.hosts[0]["reserve_cpu"]) == (4, 1)
    assert encode_spec(parse_cluster_file(encode_spec(found), simulation=True).hosts[0]) == found.hosts[0]
