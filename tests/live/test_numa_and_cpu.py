"""CPU models and NUMA nodes on real hosts: what a host says, what a guest gets, what a migration keeps."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from lxml import etree

from agent.drivers.libvirt.domain_xml import HostContext, domain_xml
from agent.terms import Terms, cpu_list
from protocol.commands import VmPlan
from protocol.messages import NumaFacts
from protocol.spec import KernelBoot
from tests.live.conftest import PROJECT
from tests.live.libvirt_bench import POOL, Bench, Host, bench_of, until

pytestmark = pytest.mark.live
RICHER = "Nehalem"
CAP = "Conroe"
# Run inside the host, which numbers its processes itself: the name of each thread and the CPUs it may use.
_THREADS = """
import os, pathlib, sys
for task in pathlib.Path(f"/proc/{sys.argv[1]}/task").iterdir():
    cpus = ",".join(map(str, sorted(os.sched_getaffinity(int(task.name)))))
    print((task / "comm").read_text().strip(), cpus, sep="\\t")
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    yield from bench_of("numa-cpu", "shared", tmp_path_factory.getbasetemp() / "driver-state", POOL)


@pytest.fixture
def capped(bench: Bench) -> Iterator[Host]:
    """A driver on h2 that offers nothing richer than the cap."""
    driver = bench.unconnected("h2", offer_cpu=CAP)
    yield driver
    driver.remote.end()


def pinned_plan(bench: Bench, name: str, number: int, **more: Any) -> VmPlan:
    """One vCPU of at most two, on the host's first node."""
    plan = bench.plan(name, number, **{"numa": 1, **more})
    first = bench.facts["h1"].numa[0]
    return msgspec.structs.replace(plan, max_cpu=2, numa_nodes=(first.node,), cpu_model=RICHER)


def one_cpu_of(bench: Bench, host: str, *, last: bool) -> NumaFacts:
    """A host's first node, as if it had but one CPU."""
    node = bench.facts[host].numa[0]
    cpu = node.cpuset.replace(",", "-").split("-")[-1 if last else 0]
    return msgspec.structs.replace(node, cpuset=cpu, cpus=1)


def pins(bench: Bench, host: str, name: str, *flags: str) -> tuple[dict[str, str], str, str]:
    """(CPUs of each vCPU, CPUs of the emulator, nodes of the memory) as libvirt has them."""
    root = etree.fromstring(bench.hosts[host].virsh("dumpxml", name, *flags).encode())
    return (
        {pin.get("vcpu"): pin.get("cpuset") for pin in root.findall("cputune/vcpupin")},
        root.find("cputune/emulatorpin").get("cpuset"),
        root.find("numatune/memory[@mode='strict']").get("nodeset"),
    )


def affinity(bench: Bench, host: str, name: str) -> dict[str, str]:
    """The CPUs that the kernel lets QEMU's vCPU threads use."""
    pid = (bench.hosts[host].run_folder / f"libvirt/qemu/{name}.pid").read_text().strip()
    said = bench.hosts[host].run([sys.executable, "-c", _THREADS, pid]).stdout
    threads = (line.split("\t") for line in said.splitlines())
    vcpus = ((re.match(r"CPU (\d+)/", comm), cpus) for comm, cpus in threads)
    return {found[1]: cpu_list(map(int, cpus.split(","))) for found, cpus in vcpus if found}


def discard(bench: Bench, host: str, plan: VmPlan) -> None:
    bench.drivers[host].call("runtime.destroy", plan.uuid)
    bench.drivers[host].call("runtime.remove", plan.uuid, True)


def test_a_host_names_its_cpu_models_and_its_nodes(bench: Bench) -> None:
    facts = bench.facts["h1"]
    assert facts.cpu_models.index(CAP) < facts.cpu_models.index(RICHER)
    assert sum(node.cpus for node in facts.numa) == os.cpu_count()
    for node in facts.numa:
        folder = Path(f"/sys/devices/system/node/node{node.node}")
        assert node.cpuset == (folder / "cpulist").read_text().strip()
        total = next(line for line in (folder / "meminfo").read_text().splitlines() if "MemTotal" in line)
        assert node.memory_mib == int(total.split()[-2]) // 1024


def test_a_pinned_vm_boots_on_its_node_and_is_pinned_to_the_targets_after_moving(bench: Bench) -> None:
    one, two = bench.drivers["h1"], bench.drivers["h2"]
    plan = pinned_plan(bench, "pinned", 1)
    before = bench.boot(plan)
    node = bench.facts["h1"].numa[0]
    everywhere = ({"0": node.cpuset, "1": node.cpuset}, node.cpuset, str(node.node))
    assert pins(bench, "h1", "pinned") == everywhere
    assert pins(bench, "h1", "pinned", "--inactive") == everywhere
    assert affinity(bench, "h1", "pinned") == {"0": node.cpuset}
    assert f">{RICHER}</model>" in bench.hosts["h1"].virsh("dumpxml", "pinned")

    order = bench.order(plan, "h2", copy=False)
    refused = one.refusal("mover.migrate", order, print)
    assert refused.code == "bad_arguments"
    assert "pinned to 1 NUMA nodes here, and the order to migrate names 0" in refused.message

    there = one_cpu_of(bench, "h2", last=True)
    two.call("mover.prepare", plan, False)
    nowhere = msgspec.structs.replace(there, node=999)
    refused = one.refusal("mover.migrate", msgspec.structs.replace(order, numa=(nowhere,)), print)
    assert "node 999" in refused.message
    assert "running on this host" in refused.message
    one.migrate(msgspec.structs.replace(order, numa=(there,)))
    onto_one = ({"0": there.cpuset, "1": there.cpuset}, there.cpuset, str(there.node))
    assert pins(bench, "h2", "pinned") == onto_one
    assert pins(bench, "h2", "pinned", "--inactive") == onto_one
    assert affinity(bench, "h2", "pinned") == {"0": there.cpuset}
    after = bench.ask(plan, "verify")
    assert (after["start_id"], after["mem"], after["disk"]) == (before["start_id"], "ok", "ok")
    discard(bench, "h2", plan)


def test_a_guest_on_two_nodes_sees_two_and_keeps_them_when_it_moves(bench: Bench) -> None:
    """Most machines have one node, so each of the guest's two is a CPU of the first."""
    one = bench.drivers["h1"]
    cmdline = f"hpg.net={bench.lab.net} ignore_loglevel"
    made = bench.plan("two-nodes", 2)
    spec = msgspec.structs.replace(made.spec, cpu=2, numa=2, kernel=KernelBoot(cmdline=cmdline))
    plan = msgspec.structs.replace(
        made, spec=spec, max_cpu=4, max_memory_mib=161, image=None, numa_nodes=(0, 1), cpu_model=RICHER
    )
    first, last = (one_cpu_of(bench, "h1", last=last) for last in (False, True))
    halves = tuple(msgspec.structs.replace(half, node=n) for n, half in enumerate((first, last)))
    terms = Terms(pool="hpgreedy", cpu_models=(RICHER,), numa=halves)
    kind = bench.facts["h1"].accelerator.kind
    xml = domain_xml(plan, HostContext(kind=kind, pool=POOL, direct_io=False, bridge="br0", terms=terms))
    own = re.sub(r'nodeset="[01-]+"', f'nodeset="{first.node}"', xml)
    one.call("images.ensure", bench.image, bench.read)
    bench.hosts["h1"].run(["virsh", "-q", "define", "--validate", "/dev/stdin"], text=own)
    one.call("runtime.start", plan.uuid)
    before = until(lambda: bench.ask(plan), "it answers")
    said = one.call("runtime.console_log", plan.uuid, "two-nodes", 262144).text
    assert "NODE_DATA(1)" in said or "Node 1" in said, said[-3000:]
    alternating = {"0": first.cpuset, "1": last.cpuset, "2": first.cpuset, "3": last.cpuset}
    assert affinity(bench, "h1", "two-nodes") == {key: alternating[key] for key in ("0", "1")}

    order = msgspec.structs.replace(bench.order(plan, "h2", copy=False), numa=(last, first))
    one.migrate(order)
    swapped = {"0": last.cpuset, "1": first.cpuset}
    assert affinity(bench, "h2", "two-nodes") == swapped
    assert bench.ask(plan, "verify")["start_id"] == before["start_id"]
    discard(bench, "h2", plan)


def test_a_host_with_a_cap_offers_nothing_richer_and_refuses_it(bench: Bench, capped: Host) -> None:
    offered = capped.connect().cpu_models
    assert CAP in offered
    assert RICHER not in offered
    assert set(offered) < set(bench.facts["h2"].cpu_models)
    capped.call("images.ensure", bench.image, bench.read)
    plan = msgspec.structs.replace(bench.plan("rich", 3), cpu_model=RICHER)
    for path, args in (("runtime.provision", (plan,)), ("mover.prepare", (plan, True))):
        refused = capped.refusal(path, *args)
        assert refused.code == "refused"
        assert f"CPU model {RICHER}" in refused.message
    assert bench.files_of("h2", plan) == []
    assert capped.report(plan.uuid) is None
    poor = msgspec.structs.replace(plan, cpu_model=CAP)
    capped.call("runtime.provision", poor)
    assert f">{CAP}</model>" in bench.hosts["h2"].virsh("dumpxml", "rich")
    capped.call("runtime.remove", poor.uuid, True)


@pytest.mark.parametrize(
    ("cap", "words"),
    [("Konroe", "which libvirt does not know here"), ("Skylake-Server", "which this host cannot run")],
)
def test_a_cap_that_cannot_be_ends_the_agent(bench: Bench, tmp_path: Path, cap: str, words: str) -> None:
    host = bench.hosts["h1"]
    done = host.run(
        [
            *(sys.executable, str(PROJECT / "run_server.py"), bench.lab.gateway, "5000", "0"),
            *("--state", str(tmp_path / "state"), "--address", host.address, "--migration-transport", "tcp"),
            *("--accelerator", "qemu", "--offer-cpu", cap, "--wait-hypervisor"),
        ],
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert f"offer-cpu is {cap!r}" in done.stderr
    assert words in done.stderr
    assert "such as " in done.stderr


def test_nodes_and_pools_that_are_not_here_are_refused(bench: Bench) -> None:
    one = bench.drivers["h1"]
    one.call("images.ensure", bench.image, bench.read)
    plan = msgspec.structs.replace(bench.plan("nowhere", 4, numa=1), numa_nodes=(999,))
    refused = one.refusal("runtime.provision", plan)
    assert refused.code == "refused"
    assert "no node 999; its nodes are " in refused.message
    refused = one.refusal("runtime.provision", bench.plan("nowhere", 5, pool="fast"))
    assert refused.code == "refused"
    assert "storage pool fast" in refused.message
    assert one.report(plan.uuid) is None
