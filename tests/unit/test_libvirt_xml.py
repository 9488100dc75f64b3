"""Domain, volume and metadata XML, written and read back; needs no libvirt."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from agent.drivers.libvirt.domain_read import derived_spec, read_domain
from agent.drivers.libvirt.domain_xml import HostContext, domain_xml
from agent.drivers.libvirt.metadata import NAMESPACE, metadata_xml
from agent.drivers.libvirt.storage_xml import pool_path, pool_xml, volume_xml
from agent.terms import Terms
from protocol.commands import CommandError, Stamp, VmPlan
from protocol.spec import CloudInit, Disk, ImageFile, ImageManifest, KernelBoot, Memory, Nic, VmSpec

UUID = "0a0b0c0d-1111-4222-8333-444455556666"
POOL = Path("/pool")
HOST = HostContext(kind="qemu", pool=POOL, direct_io=True, bridge="br0", terms=Terms(pool="hpgreedy"))
STAMP = Stamp(operation="17", owner="eva", cluster="home")
IMAGE = ImageManifest(
    name="deb",
    files=(
        ImageFile(role="disk", size=10, sha256="a" * 64, format="qcow2"),
        ImageFile(role="kernel", size=10, sha256="b" * 64),
        ImageFile(role="initrd", size=10, sha256="c" * 64),
    ),
    cmdline="console=ttyS0",
)


def plan_of(
    *, image: ImageManifest | None = IMAGE, kernel: ImageManifest | None = None, macs: int = 1, **spec: Any
) -> VmPlan:
    return VmPlan(
        spec=VmSpec(**({"id": "web", "cpu": 2, "memory": Memory(1024)} | spec)),
        uuid=UUID,
        macs=tuple(f"52:54:00:00:00:{n:02x}" for n in range(macs)),
        max_cpu=4,
        max_memory_mib=2048,
        stamp=STAMP,
        image=image,
        kernel_image=kernel,
    )


def xml_of(plan: VmPlan, host: HostContext = HOST) -> Any:
    return etree.fromstring(domain_xml(plan, host))


def test_sizes_say_what_it_has_and_what_it_can_grow_to() -> None:
    root = xml_of(plan_of())
    assert (root.findtext("name"), root.findtext("uuid")) == ("web", UUID)
    assert (root.find("vcpu").text, root.find("vcpu").get("current")) == ("4", "2")
    assert (root.findtext("memory"), root.find("memory").get("unit")) == ("2048", "MiB")
    assert (root.findtext("currentMemory"), root.find("currentMemory").get("unit")) == ("1024", "MiB")


def test_the_accelerator_chooses_type_and_cpu() -> None:
    emulated, native = xml_of(plan_of()), xml_of(plan_of(), msgspec.structs.replace(HOST, kind="kvm"))
    assert (emulated.get("type"), emulated.findtext("cpu/model")) == ("qemu", "qemu64")
    assert (native.get("type"), native.find("cpu").get("mode")) == ("kvm", "host-model")


def test_disks_come_in_order_and_the_seed_last_and_read_only() -> None:
    root = xml_of(plan_of(disks=(Disk(size=Memory(10)), Disk(size=Memory(20))), cloud_init=CloudInit()))
    disks = [(d.find("target").get("dev"), d.find("source").get("file")) for d in root.iter("disk")]
    assert disks == [
        ("vda", f"/pool/{UUID}-root.qcow2"),
        ("vdb", f"/pool/{UUID}-disk1.qcow2"),
        ("vdc", f"/pool/{UUID}-disk2.qcow2"),
        ("vdd", f"/pool/{UUID}-seed.iso"),
    ]
    assert [d.find("readonly") is not None for d in root.iter("disk")] == [False, False, False, True]
    assert [d.find("driver").get("type") for d in root.iter("disk")] == ["qcow2", "qcow2", "qcow2", "raw"]


@pytest.mark.parametrize(("direct", "cache", "io"), [(True, "none", "native"), (False, "writeback", None)])
def test_direct_io_only_where_the_file_system_takes_it(direct: bool, cache: str, io: str | None) -> None:
    driver = xml_of(plan_of(), msgspec.structs.replace(HOST, direct_io=direct)).find("devices/disk/driver")
    assert (driver.get("cache"), driver.get("io"), driver.get("discard")) == (cache, io, "unmap")


def test_a_vm_without_image_has_no_disk() -> None:
    assert list(xml_of(plan_of(image=None)).iter("disk")) == []


def test_a_kernel_is_booted_directly_with_both_command_lines() -> None:
    os = xml_of(plan_of(kernel=IMAGE)).find("os")
    assert os.findtext("kernel") == f"/pool/image-deb-{'b' * 16}.kernel"
    assert os.findtext("initrd") == f"/pool/image-deb-{'c' * 16}.initrd"
    assert os.findtext("cmdline") == "console=ttyS0"
    spec = VmSpec(id="w", cpu=1, memory=Memory(64), kernel=KernelBoot(cmdline="x=1"))
    assert (
        xml_of(msgspec.structs.replace(plan_of(kernel=IMAGE), spec=spec)).findtext("os/cmdline")
        == "console=ttyS0 x=1"
    )
    assert xml_of(plan_of()).find("os/boot").get("dev") == "hd"


def test_an_image_without_kernel_cannot_boot_one() -> None:
    bare = ImageManifest(name="bare", files=(ImageFile(role="disk", size=1, sha256="d" * 64),))
    with pytest.raises(CommandError, match="has no kernel") as caught:
        domain_xml(plan_of(kernel=bare), HOST)
    assert caught.value.code == "bad_arguments"


def test_cards_go_where_they_are_told_or_to_the_default() -> None:
    nics = (Nic(bridge="br7"), Nic(network="lan"), Nic())
    root = xml_of(plan_of(nics=nics, macs=3))
    found = [
        (i.get("type"), *i.find("source").attrib.values(), i.find("mac").get("address"))
        for i in root.iter("interface")
    ]
    assert found == [
        ("bridge", "br7", "52:54:00:00:00:00"),
        ("network", "lan", "52:54:00:00:00:01"),
        ("bridge", "br0", "52:54:00:00:00:02"),
    ]
    other = xml_of(plan_of(), msgspec.structs.replace(HOST, bridge=None, network="default"))
    assert other.find("devices/interface/source").get("network") == "default"
    assert list(xml_of(plan_of(nics=(), macs=0)).iter("interface")) == []


def test_no_default_network_is_an_error_that_says_what_to_set() -> None:
    with pytest.raises(CommandError, match="give the agent a bridge or a libvirt network") as caught:
        domain_xml(plan_of(), msgspec.structs.replace(HOST, bridge=None))
    assert caught.value.code == "refused"
    with pytest.raises(CommandError, match="one address a card"):
        domain_xml(plan_of(macs=2), HOST)


def test_the_console_is_logged_under_the_uuid() -> None:
    root = xml_of(plan_of())
    assert root.find("devices/serial/log").get("file") == f"/var/log/libvirt/qemu/hpg-{UUID}.console.log"
    assert root.find("devices/serial/log").get("append") == "on"
    assert root.find("devices/memballoon/stats").get("period") == "2"
    assert root.find("devices/channel/target").get("name") == "org.qemu.guest_agent.0"
    assert root.find("devices/graphics") is None


def test_what_was_written_is_read_back() -> None:
    plan = plan_of(labels={"note": "<&\"' ü 🐧 \x01"}, disks=(Disk(size=Memory(10)),))
    facts = read_domain(domain_xml(plan, HOST))
    assert facts.stamped is not None
    assert (facts.stamped.spec, facts.stamped.stamp) == (plan.spec, STAMP)
    assert (facts.uuid, facts.name, facts.kind) == (UUID, "web", "qemu")
    assert (facts.cpus, facts.max_cpus, facts.memory_mib, facts.max_memory_mib) == (2, 4, 1024, 2048)
    assert facts.macs == plan.macs


@given(text=st.text(max_size=256))
def test_any_text_survives_the_metadata(text: str) -> None:
    stamp = Stamp(operation="1", owner=text, cluster="c")
    xml = metadata_xml(VmSpec(id=1, cpu=1, memory=Memory(1)), stamp)
    inside = xml.replace("<vm>", f'<vm xmlns="{NAMESPACE}">')
    facts = read_domain(f"<domain><metadata>{inside}</metadata></domain>")
    assert facts.stamped is not None
    assert facts.stamped.stamp == stamp
    assert facts.stamped.spec.id == 1


@pytest.mark.parametrize(
    "inside",
    [
        "",
        "<h:spec>{}</h:spec>",
        "<h:spec>{</h:spec><h:stamp>{}</h:stamp>",
        '<h:spec>{"id":"x","cpu":1,"memory":1,"later":2}</h:spec><h:stamp>{}</h:stamp>',
        '<h:spec>{"id":"x","cpu":1,"memory":1}</h:spec><h:stamp>{"owner":3}</h:stamp>',
        '<h:spec>{"id":"x","cpu":1,"memory":1,"labels":{"a":"' + "x" * 600_000 + '"}}</h:spec>'
        '<h:stamp>{"operation":"1","owner":"o","cluster":"c"}</h:stamp>',
        "<h:spec>" + "[" * 5000 + "</h:spec><h:stamp>{}</h:stamp>",
    ],
)
def test_metadata_that_is_not_in_order_is_not_ours(inside: str) -> None:
    xml = f'<domain><metadata><h:vm xmlns:h="{NAMESPACE}">{inside}</h:vm></metadata></domain>'
    assert read_domain(xml).stamped is None


def test_entities_in_xml_are_not_followed() -> None:
    xml = '<!DOCTYPE d [<!ENTITY e SYSTEM "file:///etc/passwd">]><domain><name>&e;</name></domain>'
    assert "root" not in read_domain(xml).name
    with pytest.raises(ValueError, match="cannot be read"):
        read_domain("<domain")


FOREIGN = """<domain type='kvm'><name>{name}</name><uuid>0A0B0C0D-1111-4222-8333-444455556666</uuid>
<memory unit='KiB'>2097152</memory>
<currentMemory unit='b'>1073741825</currentMemory><vcpu current='1'>3</vcpu>
<devices><interface type='bridge'><mac address='52:54:00:AA:00:01'/><source bridge='br1'/></interface>
<interface type='network'><mac address='52:54:00:aa:00:02'/><source network='lan' bridge='v0'/></interface>
<interface type='direct'><mac address='52:54:00:aa:00:03'/><source dev='eth0' mode='bridge'/></interface>
<interface type='user'/></devices></domain>"""


def test_a_foreign_domain_becomes_a_spec() -> None:
    facts = read_domain(FOREIGN.format(name="old"))
    spec = derived_spec(facts)
    assert (spec.id, spec.cpu, spec.max_cpu) == ("old", 1, 3)
    assert (spec.memory.mib, spec.max_memory) == (1025, 2048)
    assert spec.nics == (
        Nic(bridge="br1", mac="52:54:00:aa:00:01"),
        Nic(network="lan", mac="52:54:00:aa:00:02"),
        Nic(mac="52:54:00:aa:00:03"),
    )
    assert facts.uuid == UUID
    with pytest.raises(CommandError, match="its name must be") as caught:
        derived_spec(read_domain(FOREIGN.format(name="no such name!")))
    assert caught.value.code == "unsupported"


def test_an_overlay_names_the_format_of_its_base() -> None:
    root = etree.fromstring(volume_xml("v", 123, Path("/pool/base"), "qcow2"))
    assert root.findtext("capacity") == "123"
    assert root.findtext("backingStore/path") == "/pool/base"
    assert root.find("backingStore/format").get("type") == "qcow2"
    assert root.find("target/format").get("type") == "qcow2"
    assert etree.fromstring(volume_xml("v", 1)).find("backingStore") is None
    assert pool_path(pool_xml("p", POOL)) == ("dir", "/pool")


def test_none_of_this_needs_libvirt() -> None:
    import subprocess

    modules = (
        "accelerator", "consoles", "cpu_models", "disks", "domain_read", "domain_xml", "errors", "files",
        "images", "links", "metadata", "mounts", "names", "numa_xml", "progress", "qcow2", "reports", "seed",
        "states", "storage_xml",
    )  # fmt: skip
    imports = "; ".join(f"import agent.drivers.libvirt.{module}" for module in modules)
    code = f"import sys; sys.modules['libvirt'] = None; {imports}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
