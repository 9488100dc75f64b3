"""The fleet that the world keeps answers as one that is made of its records at that moment."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpgreedy.model import Demand, Rule, RuleKind
from hpgreedy.operations import requests
from hpgreedy.operations.capacity import ends_of
from hpgreedy.operations.context import Context, Refusal
from hpgreedy.operations.engine import Engine
from hpgreedy.operations.records import HostRecord, Meta, VmRecord
from hpgreedy.operations.world import Now, Settings, World
from hpgreedy.placement import ALGORITHMS, Fleet, Placer
from protocol.messages import (
    Accelerator,
    Capacity,
    DomainEvent,
    DomainReport,
    Hello,
    NumaFacts,
    PoolFacts,
    Report,
    Usage,
)
from protocol.spec import Memory, VmSpec, decode_spec

HOSTS = ("h1", "h2", "h3", "h4")


class OurError(Exception):
    """Of ours, in the middle of an event."""


def uuid_of(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012d}"


def hello_of(name: str, chance: random.Random) -> Hello:
    number = HOSTS.index(name) + 1
    cpus = chance.choice([4, 8, 16])
    return Hello(
        host_id=uuid_of(number),
        name=name,
        boot_id="b",
        hypervisor="x",
        hypervisor_uuid=uuid_of(100 + number),
        address="a",
        migrate_uri="u",
        capacity=Capacity(cpus=cpus, memory_mib=cpus * 1024),
        accelerator=Accelerator(kind=chance.choice(["kvm", "simulated"]), reason=""),
        labels={"rack": chance.choice("ab")},
        pools=(PoolFacts(name=chance.choice(["p", "q"]), path="/p", storage_id="s"),),
        cpu_models=chance.choice([(), ("poor",), ("poor", "rich")]),
        numa=tuple(
            NumaFacts(node=n, cpuset=f"{n}", cpus=cpus // 2, memory_mib=cpus * 512)
            for n in range(chance.choice([0, 2]))
        ),
    )


class Story:
    """Events drawn from a seed, told to an engine."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.world = World(Meta(cluster="ab" * 16), Settings(host_timeout=5.0))
        self.engine = Engine(self.world)
        self.mono = 100.0
        self.number = 0
        for name in HOSTS[:3]:
            self.engine.host_hello(self.now, f"key-{name}", hello_of(name, self.chance))
        for _ in range(9):
            self.report()

    @property
    def now(self) -> Now:
        return Now(1e6 + self.mono, self.mono)

    def step(self) -> None:
        often = [self.report] * 8 + [self.submit] * 4 + [self.migrate] * 6 + [self.end] * 2
        seldom = [self.hello, self.event, self.left, self.fails, self.drop, self.drain, self.silence]
        happenings = often + seldom
        with contextlib.suppress(Refusal, OurError):
            self.chance.choice(happenings)()

    def hello(self) -> None:
        name = self.chance.choice(HOSTS)
        self.engine.host_hello(self.now, f"key-{name}", hello_of(name, self.chance))

    def some_host(self) -> HostRecord:
        if not self.world.hosts:
            self.hello()
        return self.chance.choice(list(self.world.hosts.values()))

    def some_vm(self) -> VmRecord:
        if not self.world.vms:
            raise OurError
        return self.chance.choice(list(self.world.vms.values()))

    def report(self) -> None:
        record = self.some_host()
        domains = [
            DomainReport(
                uuid=vm.uuid, name=key, state=self.chance.choice(["running"] * 5 + ["shutoff"]), ours=True
            )
            for key, vm in self.world.vms.items()
            if vm.host == record.name or self.chance.random() < 0.1
        ]
        if self.chance.random() < 0.3:
            domains.append(
                DomainReport(uuid=uuid_of(999), name=f"v{self.number + 1}", state="running", ours=False)
            )
        up = self.chance.random() < 0.9
        capacity = record.hello.capacity
        if self.chance.random() < 0.3:
            capacity = msgspec.structs.replace(capacity, cpus=self.chance.choice([2, 8, 32]))
        report = Report(
            seq=1, at=self.mono, capacity=capacity, usage=Usage(), domains=tuple(domains), hypervisor_up=up,
            problem="" if up else "gone",
        )  # fmt: skip
        self.engine.host_report(self.now, record.name, report)

    def event(self) -> None:
        vm = self.some_vm()
        event = DomainEvent(
            uuid=vm.uuid, name=vm.key, event="x", state=self.chance.choice([None, "running", "paused"])
        )
        self.engine.domain_event(self.now, self.some_host().name, event)

    def left(self) -> None:
        self.engine.host_left(self.now, self.some_host().name)

    def specs(self) -> list[VmSpec]:
        made: list[VmSpec] = []
        for _ in range(self.chance.choice([1, 1, 3])):
            self.number += 1
            raw: dict[str, Any] = {"id": f"v{self.number}", "cpu": self.chance.choice([1, 2]), "memory": 1}
            raw |= self.chance.choice([{}, {}, {"group": "g"}, {"numa": 1}, {"pool": "p"}, {"pinned": True}])
            if self.chance.random() < 0.2:
                raw["affinity"] = [{"rule": "apart", "group": "g"}]
            made.append(decode_spec(raw, VmSpec))
        return made

    def mint(self) -> str:
        self.number += 1
        return uuid_of(1000 + self.number)

    def accept(self, ctx: Context) -> None:
        specs = self.specs()
        for op in requests.submit(ctx, "ann", specs, "greedy", self.mint):
            if self.chance.random() < 0.7 and not op.children:
                vm = ctx.world.vms[op.vm_key]
                ctx.put_vm(msgspec.structs.replace(vm, operation=None, made=True))

    def submit(self) -> None:
        self.engine.run(self.now, self.accept)

    def fails(self) -> None:
        def act(ctx: Context) -> None:
            self.accept(ctx)
            if ctx.world.vms:
                ctx.drop_vm(self.some_vm().key)
            ctx.put_host(msgspec.structs.replace(self.some_host(), draining=True))
            self.joins_nearly(ctx)
            if self.chance.random() < 0.5:
                ctx.world.fleet(self.now)
            raise OurError

        self.engine.run(self.now, act)

    def joins_nearly(self, ctx: Context) -> None:
        for name in HOSTS:
            if name not in ctx.world.hosts:
                hello = hello_of(name, self.chance)
                ctx.put_host(
                    HostRecord(id=hello.host_id, name=name, public_key=name, hello=hello, joined=0.0)
                )
                return

    def end(self) -> None:
        """A migration ends, at the source or at the target."""
        for op in self.world.open_operations():
            if op.kind == "migrate":
                vm = self.world.vms[op.vm_key]
                host = self.chance.choice([op.source, op.target])
                moved = msgspec.structs.replace(
                    vm, host=host, numa_nodes=ends_of(op)[host or ""], operation=None
                )
                ended = msgspec.structs.replace(op, done=True, ok=True, state="completed")

                self.engine.run(self.now, lambda ctx, ended=ended: ctx.put_operation(ended) and None)
                self.world.fleet(self.now) if self.chance.random() < 0.5 else None
                if self.chance.random() < 0.8:
                    self.engine.run(self.now, lambda ctx, moved=moved: ctx.put_vm(moved))

    def drop(self) -> None:
        vm = self.some_vm()
        if vm.operation is not None:
            raise OurError
        self.engine.run(self.now, lambda ctx: ctx.drop_vm(vm.key))

    def migrate(self) -> None:
        vm = self.some_vm()
        self.engine.run(self.now, lambda ctx: requests.migrate(ctx, "ann", vm, to=None, bandwidth=0) and None)

    def drain(self) -> None:
        record = self.some_host()
        new = msgspec.structs.replace(record, draining=not record.draining)
        self.engine.run(self.now, lambda ctx: ctx.put_host(new))

    def silence(self) -> None:
        self.mono += self.chance.choice([0.5, 3.0, 6.0])


DEMANDS = (
    Demand(key="x", cpu=1, memory=1024),
    Demand(key="x", cpu=4, memory=2048, numa=2),
    Demand(key="x", cpu=2, memory=3072, group="g", pool="p"),
    Demand(key="x", cpu=1, memory=512, cpu_model="rich", rules=(Rule(kind=RuleKind.APART, group="g"),)),
    Demand(key="v9", cpu=1, memory=1024),
)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(5, 60))
def test_the_kept_fleet_is_the_one_made_of_the_records(seed: int, steps: int) -> None:
    story = Story(seed)
    for n in range(steps):
        story.step()
        if n % 3 and n != steps - 1:
            continue
        fresh = story.world.cluster(story.now)
        kept = story.world.fleet(story.now).cluster()
        assert list(kept.hosts.items()) == list(fresh.hosts.items())
        assert sorted(kept.claims, key=str) == sorted(fresh.claims, key=str)
        for algorithm in ALGORITHMS:
            demand = story.chance.choice(DEMANDS)
            made = Placer(Fleet(fresh)).decide(demand, algorithm, seed=seed, last="h2")
            assert (
                Placer(story.world.fleet(story.now)).decide(demand, algorithm, seed=seed, last="h2") == made
            )


def test_what_a_refused_request_tried_is_not_held() -> None:
    story = Story(1)
    for name in HOSTS[:3]:
        capacity = Capacity(cpus=4 if name == "h1" else 1, memory_mib=4096)
        report = Report(seq=1, at=0.0, capacity=capacity, usage=Usage())
        story.engine.host_report(story.now, name, report)
    specs = [VmSpec(id=name, cpu=cpu, memory=Memory(1024)) for name, cpu in (("a", 2), ("b", 8))]
    with pytest.raises(Refusal):
        story.engine.run(
            story.now, lambda ctx: requests.submit(ctx, "ann", specs, "greedy", story.mint) and None
        )
    fleet = story.world.fleet(story.now)
    assert list(fleet.claims()) == []
    assert fleet.columns[0].values == [4, 1, 1]
