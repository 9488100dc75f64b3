"""NUMA nodes in XML: those of the host, and how a domain is pinned to some of them; pure.

A pinned domain's vCPU number i sits on node i modulo the number of nodes, so that however many of its vCPUs
are plugged in, they are spread evenly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lxml import etree
from lxml.builder import E

from agent.drivers.libvirt.metadata import parse_xml
from agent.terms import cpu_list
from protocol.messages import NumaFacts

Nodes = Sequence[NumaFacts]
_PINS = ("vcpupin", "emulatorpin")


def host_nodes(capabilities: Any) -> tuple[NumaFacts, ...]:
    """The host's nodes from libvirt's capabilities, without those that have no CPU."""
    found = []
    for cell in capabilities.findall("host/topology/cells/cell"):
        cpus = [int(cpu.get("id")) for cpu in cell.findall("cpus/cpu")]
        if cpus:
            kib = int(cell.findtext("memory") or 0)
            node = int(cell.get("id"))
            found.append(NumaFacts(node=node, cpuset=cpu_list(cpus), cpus=len(cpus), memory_mib=kib // 1024))
    return tuple(sorted(found, key=lambda facts: facts.node))


def guest_cells(vcpus: int, memory_mib: int, count: int) -> Any:
    """The ``<numa>`` by which a guest sees `count` nodes. Their memory must add up to the domain's: libvirt
    quietly takes the sum for it.
    """
    least, rest = divmod(memory_mib, count)
    return E.numa(
        *(
            E.cell(
                {
                    "id": str(cell),
                    "cpus": cpu_list(range(cell, vcpus, count)),
                    "memory": str(least + (cell < rest)),
                    "unit": "MiB",
                }
            )
            for cell in range(count)
        )
    )


def pin(domain: Any, nodes: Nodes) -> None:
    """Pin a domain's element to nodes of a host, in place of those that it may have been pinned to."""
    vcpu = domain.find("vcpu")
    vcpu.set("cpuset", _all_cpus(nodes))
    tune = _child(domain, "cputune")
    for name in _PINS:
        for old in tune.findall(name):
            tune.remove(old)
    for number in range(int(vcpu.text)):
        tune.append(E.vcpupin({"vcpu": str(number), "cpuset": nodes[number % len(nodes)].cpuset}))
    tune.append(E.emulatorpin({"cpuset": _all_cpus(nodes)}))
    memory = _child(domain, "numatune")
    memory[:] = [E.memory({"mode": "strict", "nodeset": cpu_list(facts.node for facts in nodes)})]
    if len(nodes) > 1:
        memory.extend(
            E.memnode({"cellid": str(cell), "mode": "strict", "nodeset": str(facts.node)})
            for cell, facts in enumerate(nodes)
        )


def repinned(xml: str, nodes: Nodes) -> str:
    """A domain's XML with its pins changed to other nodes, which must be as many as before."""
    domain = parse_xml(xml)
    pin(domain, nodes)
    return str(etree.tostring(domain, encoding="unicode"))


def pinned_nodes(domain: Any) -> int:
    """To how many nodes a domain's element is pinned; 0 = it floats."""
    if domain.find("numatune/memory") is None:
        return 0
    return len(domain.findall("cpu/numa/cell")) or 1


def _all_cpus(nodes: Nodes) -> str:
    return ",".join(facts.cpuset for facts in nodes)


def _child(domain: Any, name: str) -> Any:
    found = domain.find(name)
    if found is None:
        found = etree.SubElement(domain, name)
    return found
