"""What every driver must do, whatever hypervisor is behind it.

A test module makes a fixture `bench` that yields a `Bench` of two connected hosts, and inherits:
``class TestMyDriver(DriverContract): ...``. Nothing in here knows a driver.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from agent.ports import Driver, HostFacts, ReadChunk
from protocol.commands import CommandError, Migrate, Stamp, VmPlan
from protocol.messages import DomainEvent, DomainReport, MigrationProgress
from protocol.spec import ImageManifest, Memory, VmSpec

CLUSTER = "contract"
STAMP = Stamp(operation="1", owner="tester", cluster=CLUSTER)


@dataclass
class Side:
    """One host: its driver, connected, what it said of itself and the events it has sent."""

    driver: Driver
    facts: HostFacts
    events: list[DomainEvent] = field(default_factory=list)


@dataclass
class Bench:
    """Two hosts that do not share storage, an image with a reader for it, and a way to make foreign domains.

    `patience` is how many seconds a guest may take to boot or stop; `slow` makes a spec whose migration
    takes some seconds.
    """

    here: Side
    there: Side
    image: ImageManifest
    read: ReadChunk
    foreign: Callable[[str], str]
    patience: float = 10.0
    memory: str = "128MiB"
    slow: Callable[[str], VmSpec] | None = None

    def plan(self, name: str | None = None, spec: VmSpec | None = None) -> VmPlan:
        """A plan for a VM with this image."""
        name = name or f"vm-{uuid.uuid4().hex[:8]}"
        spec = spec or VmSpec(
            id=name, cpu=1, memory=Memory.parse(self.memory), image=self.image.name, nics=()
        )
        return VmPlan(
            spec=spec,
            uuid=str(uuid.uuid4()),
            macs=(),
            max_cpu=spec.cpu,
            max_memory_mib=spec.memory.mib,
            stamp=STAMP,
            image=self.image,
        )

    def provisioned(self, plan: VmPlan | None = None) -> VmPlan:
        """A VM that is defined here."""
        plan = plan or self.plan()
        self.here.driver.images.ensure(self.image, self.read)
        self.here.driver.runtime.provision(plan)
        return plan

    def running(self, plan: VmPlan | None = None) -> VmPlan:
        """A VM that runs here."""
        plan = self.provisioned(plan)
        self.here.driver.runtime.start(plan.uuid)
        return plan

    def ready_to_move(self, plan: VmPlan | None = None) -> tuple[VmPlan, Migrate]:
        """A VM that runs here, with the other host prepared for it, and the order to move it."""
        plan = self.running(plan)
        self.there.driver.images.ensure(self.image, self.read)
        self.there.driver.mover.prepare(plan, True)
        order = Migrate(
            uuid=plan.uuid, target_uri=self.there.facts.migrate_uri, target_address="127.0.0.1", copy=True
        )
        return plan, order


def report_of(side: Side, vm: str) -> DomainReport | None:
    """What a host reports of a domain."""
    return next((found for found in side.driver.meter.domains() if found.uuid == vm), None)


def until(reached: Callable[[], Any], patience: float) -> Any:
    """Wait until something is so, and return it."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        found = reached()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come to be in time")


def code_of(call: Callable[[], Any]) -> str:
    """The code of the CommandError that a call must raise."""
    with pytest.raises(CommandError) as caught:
        call()
    assert caught.value.message
    return str(caught.value.code)


def ignore(_progress: MigrationProgress) -> None:
    """For who does not care."""


class DriverContract:
    """The tests."""

    def test_facts_are_complete(self, bench: Bench) -> None:
        for side in (bench.here, bench.there):
            uuid.UUID(side.facts.hypervisor_uuid)
            assert side.facts.migrate_uri
            assert side.facts.accelerator.reason
            assert side.driver.alive()
        assert bench.here.facts.hypervisor_uuid != bench.there.facts.hypervisor_uuid

    def test_capacity_usage_and_pool(self, bench: Bench) -> None:
        driver = bench.here.driver
        assert driver.meter.capacity().cpus >= 1
        assert driver.meter.capacity().memory_mib >= 64
        assert 0 <= driver.meter.usage().cpu_percent <= 100
        (pool,) = driver.images.pools()
        assert pool.storage_id
        assert pool.capacity >= pool.available >= 0
        assert bench.there.driver.images.pools()[0].storage_id != pool.storage_id

    def test_cpu_models_and_numa_nodes_are_named(self, bench: Bench) -> None:
        facts = bench.here.facts
        assert facts.cpu_models
        assert len(set(facts.cpu_models)) == len(facts.cpu_models)
        assert [node.node for node in facts.numa] == sorted({node.node for node in facts.numa})
        assert sum(node.cpus for node in facts.numa) == bench.here.driver.meter.capacity().cpus
        assert all(node.memory_mib > 0 for node in facts.numa)

    def test_a_vm_of_an_offered_model_pinned_to_a_node_runs_and_moves(self, bench: Bench) -> None:
        model = bench.here.facts.cpu_models[-1]
        node, there = bench.here.facts.numa[0], bench.there.facts.numa[-1]
        plan = bench.plan()
        plan = msgspec.structs.replace(
            plan,
            spec=msgspec.structs.replace(plan.spec, cpu_model=model, numa=1),
            cpu_model=model,
            numa_nodes=(node.node,),
        )
        plan, order = bench.ready_to_move(plan)
        assert code_of(lambda: bench.here.driver.mover.migrate(order, ignore)) == "bad_arguments"
        assert bench.here.driver.runtime.inspect(plan.uuid).state == "running"
        two = msgspec.structs.replace(order, numa=(there, there))
        assert code_of(lambda: bench.here.driver.mover.migrate(two, ignore)) == "bad_arguments"
        bench.here.driver.mover.migrate(msgspec.structs.replace(order, numa=(there,)), ignore)
        assert bench.there.driver.runtime.inspect(plan.uuid).state == "running"
        assert not bench.here.driver.runtime.inspect(plan.uuid).present
        bench.here.driver.runtime.remove(plan.uuid, True)

    def test_a_floating_vm_is_not_pinned_by_its_migration(self, bench: Bench) -> None:
        plan, order = bench.ready_to_move()
        pinning = msgspec.structs.replace(order, numa=(bench.there.facts.numa[0],))
        assert code_of(lambda: bench.here.driver.mover.migrate(pinning, ignore)) == "bad_arguments"
        assert bench.here.driver.runtime.inspect(plan.uuid).state == "running"

    @pytest.mark.parametrize(
        ("in_plan", "in_spec", "code"),
        [
            ({"cpu_model": "no-such-model"}, {}, "refused"),
            ({"numa_nodes": (1000,)}, {"numa": 1}, "refused"),
            ({"numa_nodes": (0, 0)}, {}, "bad_arguments"),
            ({}, {"pool": "no-such-pool"}, "refused"),
        ],
    )
    def test_a_model_node_or_pool_that_is_not_here_is_refused(
        self, bench: Bench, in_plan: dict[str, Any], in_spec: dict[str, Any], code: str
    ) -> None:
        plan = bench.plan()
        spec = msgspec.structs.replace(plan.spec, **in_spec)
        plan = msgspec.structs.replace(plan, spec=spec, **in_plan)
        bench.here.driver.images.ensure(bench.image, bench.read)
        assert code_of(lambda: bench.here.driver.runtime.provision(plan)) == code
        assert code_of(lambda: bench.here.driver.mover.prepare(plan, True)) == code
        assert report_of(bench.here, plan.uuid) is None
        assert bench.here.driver.runtime.remove(plan.uuid, True) == ()

    def test_a_provisioned_vm_is_stamped_and_does_not_run(self, bench: Bench) -> None:
        plan = bench.provisioned()
        report = report_of(bench.here, plan.uuid)
        assert report is not None
        assert (report.state, report.ours, report.name) == ("shutoff", True, plan.spec.key)
        assert (report.operation, report.owner, report.cluster) == ("1", "tester", CLUSTER)
        assert report.spec is not None
        assert report.spec["id"] == plan.spec.id
        assert (report.cpus, report.memory_mib) == (1, plan.spec.memory.mib)

    def test_provisioning_again_changes_nothing(self, bench: Bench) -> None:
        plan = bench.running()
        bench.here.driver.runtime.provision(plan)
        assert bench.here.driver.runtime.inspect(plan.uuid).state == "running"

    def test_a_name_that_is_taken_is_refused(self, bench: Bench) -> None:
        first = bench.provisioned()
        second = bench.plan(first.spec.key)
        assert code_of(lambda: bench.here.driver.runtime.provision(second)) == "exists"
        assert report_of(bench.here, second.uuid) is None

    def test_start_is_idempotent_and_emits_an_event(self, bench: Bench) -> None:
        plan = bench.running()
        bench.here.driver.runtime.start(plan.uuid)
        assert bench.here.driver.runtime.inspect(plan.uuid).state == "running"
        until(
            lambda: any(e.uuid == plan.uuid and e.state == "running" for e in bench.here.events),
            bench.patience,
        )

    def test_what_is_not_there_is_not_found(self, bench: Bench) -> None:
        runtime, nobody = bench.here.driver.runtime, str(uuid.uuid4())
        assert code_of(lambda: runtime.start(nobody)) == "not_found"
        assert code_of(lambda: runtime.shutdown(nobody, 1, False)) == "not_found"
        assert code_of(lambda: runtime.destroy(nobody)) == "not_found"
        assert code_of(lambda: runtime.console_log(nobody, "nobody", 10)) == "not_found"
        assert code_of(lambda: runtime.adopt("nobody", STAMP)) == "not_found"
        assert not runtime.inspect(nobody).present
        assert runtime.remove(nobody, True) == ()

    def test_destroy_unless_running_leaves_what_runs_alone(self, bench: Bench) -> None:
        plan = bench.running()
        runtime = bench.here.driver.runtime
        assert code_of(lambda: runtime.destroy(plan.uuid, True)) == "refused"
        assert runtime.inspect(plan.uuid).state == "running"
        runtime.destroy(plan.uuid)
        runtime.destroy(plan.uuid, True)

    def test_destroy_stops_at_once_and_again_is_fine(self, bench: Bench) -> None:
        plan = bench.running()
        bench.here.driver.runtime.destroy(plan.uuid)
        assert bench.here.driver.runtime.inspect(plan.uuid).state == "shutoff"
        bench.here.driver.runtime.destroy(plan.uuid)
        bench.here.driver.runtime.shutdown(plan.uuid, 1, False)

    def test_shutdown_ends_in_shutoff_when_forced(self, bench: Bench) -> None:
        plan = bench.running()
        bench.here.driver.runtime.shutdown(plan.uuid, bench.patience, True)
        assert bench.here.driver.runtime.inspect(plan.uuid).state == "shutoff"

    def test_a_shutdown_that_is_broken_off_switches_nothing_off(self, bench: Bench) -> None:
        plan = bench.running()
        runtime = bench.here.driver.runtime
        assert code_of(lambda: runtime.shutdown(plan.uuid, 0.0, True, lambda: True)) == "aborted"
        assert runtime.inspect(plan.uuid).state == "running"

    def test_removing_is_refused_while_it_runs_and_then_deletes_its_files_alone(self, bench: Bench) -> None:
        other, plan = bench.provisioned(), bench.running()
        runtime = bench.here.driver.runtime
        assert code_of(lambda: runtime.remove(plan.uuid, True)) == "refused"
        assert runtime.inspect(plan.uuid).state == "running"
        runtime.destroy(plan.uuid)
        deleted = runtime.remove(plan.uuid, True)
        assert deleted
        assert all(plan.uuid in path for path in deleted)
        assert not runtime.inspect(plan.uuid).present
        assert runtime.remove(plan.uuid, True) == ()
        runtime.start(other.uuid)

    def test_removing_without_disks_keeps_the_files(self, bench: Bench) -> None:
        plan = bench.provisioned()
        assert bench.here.driver.runtime.remove(plan.uuid, False) == ()
        assert bench.here.driver.runtime.remove(plan.uuid, True)

    def test_the_console_has_the_end_of_what_the_guest_said(self, bench: Bench) -> None:
        plan = bench.running()
        runtime, name = bench.here.driver.runtime, plan.spec.key
        until(lambda: runtime.console_log(plan.uuid, name, 4096).total > 10, bench.patience)
        whole = runtime.console_log(plan.uuid, name, 65536)
        end = runtime.console_log(plan.uuid, name, 5)
        assert len(end.text) <= 5
        assert end.total >= whole.total

    def test_a_foreign_domain_is_reported_and_adopted_only_on_request(self, bench: Bench) -> None:
        name = f"foreign-{uuid.uuid4().hex[:6]}"
        vm = bench.foreign(name)
        report = report_of(bench.here, vm)
        assert report is not None
        assert not report.ours
        assert report.spec is None
        adopted = bench.here.driver.runtime.adopt(name, STAMP)
        assert (adopted.uuid, adopted.spec.key) == (vm, name)
        after = report_of(bench.here, vm)
        assert after is not None
        assert (after.ours, after.cluster, after.state) == (True, CLUSTER, report.state)
        assert bench.here.driver.runtime.adopt(name, STAMP).spec == adopted.spec

    def test_a_domain_of_another_cluster_is_not_adopted(self, bench: Bench) -> None:
        plan = bench.provisioned()
        other = Stamp(operation="9", owner="x", cluster="other")
        assert code_of(lambda: bench.here.driver.runtime.adopt(plan.spec.key, other)) == "exists"

    def test_images_are_fetched_once_checked_and_deleted(self, bench: Bench) -> None:
        reads: list[int] = []

        def counting(name: str, file: Any, offset: int, length: int) -> bytes:
            reads.append(length)
            return bench.read(name, file, offset, length)

        images = bench.here.driver.images
        images.delete(bench.image)
        images.ensure(bench.image, counting)
        once = len(reads)
        assert once
        images.ensure(bench.image, counting)
        assert len(reads) == once
        images.delete(bench.image)
        images.delete(bench.image)
        images.ensure(bench.image, counting)
        assert len(reads) == 2 * once

    def test_an_image_that_arrives_damaged_is_not_kept(self, bench: Bench) -> None:
        images = bench.here.driver.images
        images.delete(bench.image)
        assert code_of(lambda: images.ensure(bench.image, lambda *_: bytes(_[3]))) == "failed"
        assert code_of(lambda: images.ensure(bench.image, lambda *_: b"")) == "failed"
        images.ensure(bench.image, bench.read)

    def test_a_live_migration_moves_the_vm_whole(self, bench: Bench) -> None:
        plan, order = bench.ready_to_move()
        seen: list[MigrationProgress] = []
        figures = bench.here.driver.mover.migrate(order, seen.append)
        assert figures.total_ms > 0
        assert not bench.here.driver.runtime.inspect(plan.uuid).present
        there = bench.there.driver.runtime.inspect(plan.uuid)
        assert (there.present, there.state, there.persistent, there.job) == (True, "running", True, False)
        report = report_of(bench.there, plan.uuid)
        assert report is not None
        assert (report.ours, report.cluster) == (True, CLUSTER)
        until(
            lambda: any(e.uuid == plan.uuid and e.state == "running" for e in bench.there.events),
            bench.patience,
        )
        until(lambda: any(e.uuid == plan.uuid and e.state is None for e in bench.here.events), bench.patience)
        bench.here.driver.runtime.remove(plan.uuid, True)
        assert bench.there.driver.runtime.inspect(plan.uuid).state == "running"

    def test_a_vm_that_does_not_run_or_is_not_here_does_not_move(self, bench: Bench) -> None:
        plan, order = bench.ready_to_move()
        bench.here.driver.runtime.destroy(plan.uuid)
        assert code_of(lambda: bench.here.driver.mover.migrate(order, ignore)) == "refused"
        bench.here.driver.runtime.remove(plan.uuid, True)
        assert code_of(lambda: bench.here.driver.mover.migrate(order, ignore)) == "not_found"

    def test_a_migration_to_nowhere_leaves_the_vm_running_here(self, bench: Bench) -> None:
        plan, order = bench.ready_to_move()
        scheme = order.target_uri.split(":", 1)[0]
        nowhere = Migrate(
            uuid=plan.uuid, target_uri=f"{scheme}:///nowhere", target_address="127.0.0.9", copy=True
        )
        assert code_of(lambda: bench.here.driver.mover.migrate(nowhere, ignore)) != "not_found"
        assert bench.here.driver.runtime.inspect(plan.uuid).state == "running"

    def test_one_that_is_held_runs_at_the_target_in_the_end(self, bench: Bench) -> None:
        plan, order = bench.ready_to_move()
        bench.here.driver.mover.migrate(msgspec.structs.replace(order, hold=True), ignore)
        assert not bench.here.driver.runtime.inspect(plan.uuid).present
        bench.there.driver.runtime.resume(plan.uuid)
        assert bench.there.driver.runtime.inspect(plan.uuid).state == "running"
        bench.there.driver.runtime.destroy(plan.uuid)
        assert code_of(lambda: bench.there.driver.runtime.resume(plan.uuid)) == "refused"
        assert code_of(lambda: bench.there.driver.runtime.resume(str(uuid.uuid4()))) == "not_found"

    def test_preparing_where_it_is_defined_is_refused(self, bench: Bench) -> None:
        plan = bench.provisioned()
        assert code_of(lambda: bench.here.driver.mover.prepare(plan, True)) == "exists"

    def test_aborting_where_nothing_moves_is_fine(self, bench: Bench) -> None:
        plan = bench.running()
        bench.here.driver.mover.abort(plan.uuid)
        bench.here.driver.mover.abort(str(uuid.uuid4()))
        assert bench.here.driver.runtime.inspect(plan.uuid).state == "running"
