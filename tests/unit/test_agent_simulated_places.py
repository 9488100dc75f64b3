"""CPU models and NUMA nodes of simulated hosts: what the URI says, what a host offers, what a move keeps."""

from pathlib import Path

import msgspec
import pytest

from agent.drivers.simulated import SimulatedDriver
from agent.drivers.simulated.uri import MODELS, offered_models, parse_uri, simulated_nodes
from agent.errors import AgentError
from agent.main import serve
from agent.ports import DriverSettings, HostFacts
from agent.settings import AgentSettings
from protocol.commands import CommandError, Migrate, Stamp, VmPlan
from protocol.spec import Memory, VmSpec

UUID = "0a0b0c0d-1111-4222-8333-444455556666"


def options(query: str):
    return parse_uri(f"simulated:///w{query}", Path("/s/agent"))


def settings(tmp_path: Path, name: str, query: str, **changes) -> DriverSettings:
    return DriverSettings(
        hypervisor=f"simulated://{tmp_path / 'world'}{query}",
        address="127.0.0.1",
        state=tmp_path / name,
        **changes,
    )


def host(tmp_path: Path, name: str, query: str) -> tuple[SimulatedDriver, HostFacts]:
    driver = SimulatedDriver(settings(tmp_path, name, query))
    return driver, driver.connect(lambda _event: None, lambda _reason: None)


def test_a_host_has_one_node_and_some_models_unless_told():
    (node,) = simulated_nodes(options("?cpus=8&memory=64"))
    assert (node.node, node.cpuset, node.cpus, node.memory_mib) == (0, "0-7", 8, 64 * 1024)
    assert options("").cpu_models == MODELS


def test_cpus_and_memory_are_divided_among_nodes():
    nodes = simulated_nodes(options("?cpus=8&memory=10&numa=3"))
    assert [(n.node, n.cpuset, n.cpus, n.memory_mib) for n in nodes] == [
        (0, "0-1", 2, 3413),
        (1, "2-4", 3, 3413),
        (2, "5-7", 3, 3413),
    ]


def test_a_cap_is_the_richest_that_is_left():
    found = options("?cpu-models=a,b,c")
    assert offered_models(found, "") == ("a", "b", "c")
    assert offered_models(found, "b") == ("a", "b")
    with pytest.raises(CommandError, match=r"offer-cpu is 'd', .* such as c or b or a"):
        offered_models(found, "d")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?numa=0", "numa=0 is not known"),
        ("?numa=65", r"numa \(1 to 64 nodes\)"),
        ("?numa=two", "numa is 'two', which is no such number"),
        ("?numa=8&cpus=4", "numa is 8; it must be at most cpus, which is 4"),
        ("?cpu-models=", "cpu-models="),
        ("?cpu-models=a,a", "cpu-models=a,a is not known"),
        ("?cpu-models=a b", "cpu-models=a b"),
    ],
)
def test_a_uri_that_says_nonsense_is_refused(query, words):
    with pytest.raises(CommandError, match=words):
        options(query)


def test_a_pinned_vm_is_pinned_to_the_targets_nodes_once_it_has_moved(tmp_path: Path):
    here, _ = host(tmp_path, "here", "?numa=2&cpus=8")
    there, facts = host(tmp_path, "there", "?numa=4&cpus=8")
    plan = VmPlan(
        spec=VmSpec(id="web", cpu=2, memory=Memory(512), numa=2),
        uuid=UUID,
        macs=(),
        max_cpu=2,
        max_memory_mib=512,
        stamp=Stamp(operation="1", owner="o", cluster="c"),
        cpu_model="Nehalem",
        numa_nodes=(0, 1),
    )
    here.runtime.provision(plan)
    here.runtime.start(UUID)
    assert here.host.domain(UUID).numa_nodes == (0, 1)
    there.mover.prepare(msgspec.structs.replace(plan, numa_nodes=(3, 2)), True)
    order = Migrate(
        uuid=UUID,
        target_uri=facts.migrate_uri,
        target_address="127.0.0.1",
        copy=True,
        numa=(facts.numa[3], facts.numa[2]),
    )
    here.mover.migrate(order, lambda _progress: None)
    moved = there.host.domain(UUID)
    assert (moved.state, moved.numa_nodes, moved.cpu_model) == ("running", (3, 2), "Nehalem")
    here.close()
    there.close()


async def test_a_cap_that_cannot_be_ends_the_agent_even_when_it_waits_for_its_hypervisor(tmp_path: Path):
    driver = settings(tmp_path, "h1", "", offer_cpu="Nehalm")
    agent = AgentSettings(
        coordinator="127.0.0.1",
        port=5000,
        memory_mib=0,
        state=tmp_path / "h1",
        state_root=tmp_path / "root",
        driver=driver,
        wait_hypervisor=True,
    )
    with pytest.raises(AgentError, match=r"offer-cpu is 'Nehalm'.* such as Nehalem") as caught:
        await serve(agent)
    assert caught.value.exit_code == 2
