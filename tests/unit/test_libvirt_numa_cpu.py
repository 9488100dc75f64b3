"""CPU models and NUMA nodes in libvirt's XML, written and read; needs no libvirt."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from agent.drivers.libvirt.cpu_models import features_of, known_models, offered
from agent.drivers.libvirt.domain_read import read_domain
from agent.drivers.libvirt.domain_xml import domain_xml
from agent.drivers.libvirt.numa_xml import guest_cells, host_nodes, repinned
from agent.terms import Terms
from protocol.commands import CommandError, VmPlan
from protocol.messages import NumaFacts
from tests.unit.test_libvirt_xml import HOST, plan_of

NODES = tuple(
    NumaFacts(node=number, cpuset=cpuset, cpus=4, memory_mib=8192)
    for number, cpuset in ((0, "0-3"), (1, "4-7"), (3, "8,10,12,14"))
)
CONTEXT = msgspec.structs.replace(
    HOST, terms=Terms(pool="hpgreedy", cpu_models=("Conroe", "Nehalem"), numa=NODES)
)
CAPABILITIES = """<capabilities><host><topology><cells num="3">
<cell id="1"><memory unit="KiB">2049</memory><cpus num="2"><cpu id="5"/><cpu id="4"/></cpus></cell>
<cell id="0"><memory unit="KiB">4194304</memory>
<cpus num="3"><cpu id="0"/><cpu id="2"/><cpu id="1"/></cpus></cell>
<cell id="2"><memory unit="KiB">4194304</memory><cpus num="0"/></cell>
</cells></topology></host></capabilities>"""
DOMAIN_CAPABILITIES = """<domainCapabilities><cpu>
<mode name="host-model"><model>Skylake</model></mode>
<mode name="custom" supported="yes"><model usable="yes" vendor="unknown">base</model>
<model usable="yes">twin-b</model><model usable="yes">twin-a</model><model usable="yes">rich</model>
<model usable="yes">other</model><model usable="no">newest</model><model usable="unknown">odd</model>
<model usable="yes">vanished</model></mode></cpu></domainCapabilities>"""
FEATURES = {
    "base": {"fpu"},
    "twin-a": {"fpu", "sse"},
    "twin-b": {"fpu", "sse"},
    "rich": {"fpu", "sse", "avx"},
    "other": {"fpu", "svm"},
}


def pinned(*nodes: int, **changes: Any) -> VmPlan:
    plan = plan_of(cpu=max(1, len(nodes)), numa=len(nodes) or None)
    return msgspec.structs.replace(plan, numa_nodes=nodes, **changes)


def xml_of(plan: VmPlan) -> Any:
    return etree.fromstring(domain_xml(plan, CONTEXT))


def vcpu_pins(root: Any) -> dict[int, str]:
    return {int(pin.get("vcpu")): pin.get("cpuset") for pin in root.findall("cputune/vcpupin")}


def expand(cpu: str) -> str | None:
    model = etree.fromstring(cpu).findtext("model")
    if model not in FEATURES:
        return None
    features = "".join(f"<feature policy='require' name='{name}'/>" for name in FEATURES[model])
    return f"<cpu><model>{model}</model>{features}<feature policy='disable' name='hle'/></cpu>"


def models_up_to(cap: str) -> tuple[str, ...]:
    models = known_models(DOMAIN_CAPABILITIES)
    return offered(models, features_of(models, expand), cap)


@pytest.mark.parametrize("kind", ["qemu", "kvm"])
def test_a_guest_gets_exactly_the_model_of_its_plan(kind: Any) -> None:
    plan = msgspec.structs.replace(plan_of(), cpu_model="Nehalem")
    cpu = etree.fromstring(domain_xml(plan, msgspec.structs.replace(CONTEXT, kind=kind))).find("cpu")
    assert (cpu.get("mode"), cpu.get("match")) == ("custom", "exact")
    assert (cpu.findtext("model"), cpu.find("model").get("fallback")) == ("Nehalem", "forbid")


def test_models_come_from_the_poorest_to_the_richest() -> None:
    assert models_up_to("") == ("base", "other", "twin-a", "twin-b", "rich")


@pytest.mark.parametrize(
    ("cap", "models"),
    [
        ("rich", ("base", "twin-a", "twin-b", "rich")),
        ("twin-a", ("base", "twin-a", "twin-b")),
        ("other", ("base", "other")),
        ("base", ("base",)),
    ],
)
def test_a_cap_lets_through_what_needs_nothing_it_lacks(cap: str, models: tuple[str, ...]) -> None:
    assert models_up_to(cap) == models


@pytest.mark.parametrize(
    ("cap", "why"),
    [
        ("newest", "which this host cannot run"),
        ("odd", "which this host cannot run"),
        ("vanished", "which this host cannot run"),
        ("richh", "which libvirt does not know here"),
    ],
)
def test_a_cap_that_no_guest_can_have_is_refused(cap: str, why: str) -> None:
    with pytest.raises(CommandError, match=f"offer-cpu is '{cap}', {why}.* such as .*rich") as caught:
        models_up_to(cap)
    assert caught.value.code == "bad_arguments"


def test_the_hosts_nodes_are_those_with_cpus_in_order() -> None:
    assert host_nodes(etree.fromstring(CAPABILITIES)) == (
        NumaFacts(node=0, cpuset="0-2", cpus=3, memory_mib=4096),
        NumaFacts(node=1, cpuset="4-5", cpus=2, memory_mib=2),
    )
    assert host_nodes(etree.fromstring("<capabilities><host/></capabilities>")) == ()


def test_a_floating_domain_has_no_pins() -> None:
    root = xml_of(plan_of())
    assert root.find("cputune") is None
    assert root.find("numatune") is None
    assert root.find("vcpu").get("cpuset") is None
    assert root.find("cpu/numa") is None
    assert read_domain(domain_xml(plan_of(), CONTEXT)).pinned_nodes == 0


def test_a_domain_on_one_node_is_pinned_whole_and_sees_no_nodes() -> None:
    root = xml_of(pinned(1))
    assert vcpu_pins(root) == dict.fromkeys(range(4), "4-7")
    assert root.find("vcpu").get("cpuset") == "4-7"
    assert root.find("cputune/emulatorpin").get("cpuset") == "4-7"
    assert dict(root.find("numatune/memory").attrib) == {"mode": "strict", "nodeset": "1"}
    assert root.find("numatune/memnode") is None
    assert root.find("cpu/numa") is None


def test_a_domain_on_two_nodes_sees_two_of_equal_size() -> None:
    root = xml_of(pinned(3, 0))
    assert vcpu_pins(root) == {0: "8,10,12,14", 1: "0-3", 2: "8,10,12,14", 3: "0-3"}
    assert root.find("cputune/emulatorpin").get("cpuset") == "8,10,12,14,0-3"
    assert root.find("numatune/memory").get("nodeset") == "0,3"
    cells = [(cell.get("id"), cell.get("cpus"), cell.get("memory")) for cell in root.iter("cell")]
    assert cells == [("0", "0,2", "1024"), ("1", "1,3", "1024")]
    assert [(n.get("cellid"), n.get("mode"), n.get("nodeset")) for n in root.iter("memnode")] == [
        ("0", "strict", "3"),
        ("1", "strict", "0"),
    ]


def test_nodes_that_are_not_there_make_no_xml() -> None:
    with pytest.raises(CommandError, match="this host has no node 2"):
        domain_xml(pinned(2), CONTEXT)


@given(data=st.data(), memory=st.integers(64, 10**6), count=st.integers(1, 64))
def test_cells_share_all_memory_and_every_cpu_once_evenly(data: Any, memory: int, count: int) -> None:
    vcpus = data.draw(st.integers(count, 300))
    cells = guest_cells(vcpus, memory, count).findall("cell")
    sizes = [int(cell.get("memory")) for cell in cells]
    runs = [[run.split("-") for run in cell.get("cpus").split(",")] for cell in cells]
    cpus = [[n for run in held for n in range(int(run[0]), int(run[-1]) + 1)] for held in runs]
    assert sum(sizes) == memory
    assert max(sizes) - min(sizes) <= 1
    assert sorted(n for held in cpus for n in held) == list(range(vcpus))
    assert max(map(len, cpus)) - min(map(len, cpus)) <= 1


def test_a_domain_that_moves_is_pinned_to_the_targets_nodes_and_is_else_the_same() -> None:
    before = domain_xml(pinned(0, 1), CONTEXT).replace("<cputune>", "<cputune><shares>7</shares>")
    after = repinned(before, (NODES[2], NODES[0]))
    root = etree.fromstring(after)
    assert vcpu_pins(root) == {0: "8,10,12,14", 1: "0-3", 2: "8,10,12,14", 3: "0-3"}
    assert [pin.get("cpuset") for pin in root.iter("emulatorpin")] == ["8,10,12,14,0-3"]
    assert [memory.get("nodeset") for memory in root.findall("numatune/memory")] == ["0,3"]
    assert [node.get("nodeset") for node in root.iter("memnode")] == ["3", "0"]
    assert root.findtext("cputune/shares") == "7"
    assert _without_pins(after) == _without_pins(before)
    assert repinned(repinned(before, (NODES[2], NODES[0])), NODES[:2]) == repinned(before, NODES[:2])


def _without_pins(xml: str) -> str:
    root = etree.fromstring(xml)
    for path in ("cputune", "numatune"):
        root.remove(root.find(path))
    del root.find("vcpu").attrib["cpuset"]
    return re.sub(r"\s+", "", etree.tostring(root, encoding="unicode"))


def test_only_what_we_pinned_counts_as_pinned() -> None:
    assert read_domain(domain_xml(pinned(1), CONTEXT)).pinned_nodes == 1
    assert read_domain(domain_xml(pinned(0, 1, 3), CONTEXT)).pinned_nodes == 3
    foreign = domain_xml(plan_of(), CONTEXT).replace(
        "</domain>", '<numatune><memory mode="strict" nodeset="0"/></numatune></domain>'
    )
    assert read_domain(foreign).pinned_nodes == 0
