"""The libvirt driver keeps the drivers' contract, on two real hosts that do not share storage."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import msgspec
import pytest

from lab import guest as lab_guest
from protocol.commands import Migrate, VmPlan
from protocol.spec import VmSpec
from tests.contracts.driver_contract import Bench, DriverContract, Side
from tests.live.libvirt_bench import POOL, bench_of
from tests.live.libvirt_bench import Bench as Hosts

pytestmark = pytest.mark.live


class KernelBench(Bench):
    """A bench whose VMs boot the test guest's kernel."""

    address = ""

    def plan(self, name: str | None = None, spec: VmSpec | None = None) -> VmPlan:
        return msgspec.structs.replace(super().plan(name, spec), kernel_image=self.image)

    def ready_to_move(self, plan: VmPlan | None = None) -> tuple[VmPlan, Migrate]:
        plan, order = super().ready_to_move(plan)
        return plan, msgspec.structs.replace(order, target_address=self.address)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    state = tmp_path_factory.getbasetemp() / "driver-state"
    yield from bench_of("driver-contract", "local", state, POOL)


@pytest.fixture
def bench(hosts: Hosts) -> Iterator[Bench]:
    here, there = (
        Side(hosts.drivers[name].remote.ports, hosts.facts[name], hosts.drivers[name].events)
        for name in ("h1", "h2")
    )

    def foreign(name: str) -> str:
        number = str(uuid.uuid4())
        mac = "52:54:00:00:0a:01"
        xml = lab_guest.domain_xml(lab_guest.build(), name, hosts.lab.net, mac, uuid=number)
        hosts.hosts["h1"].run(["virsh", "-q", "define", "/dev/stdin"], text=xml)
        return number

    made = KernelBench(here, there, hosts.image, hosts.read, foreign, patience=60.0)
    made.address = hosts.hosts["h2"].address
    yield made
    for side in (here, there):
        side.events.clear()
        for domain in side.driver.meter.domains():
            side.driver.runtime.destroy(domain.uuid)
            side.driver.runtime.remove(domain.uuid, True)


class TestLibvirtDriver(DriverContract):
    """All of it."""
