"""States, events, figures, errors and names of the libvirt driver; needs no libvirt."""

from __future__ import annotations

import errno

import pytest

from agent.drivers.libvirt import errors, names, states
from agent.drivers.libvirt.domain_read import DomainFacts
from agent.drivers.libvirt.links import Device, bridges_of, parse_links, uplinks_of
from agent.drivers.libvirt.progress import is_outgoing, migrated, progress_of
from agent.drivers.libvirt.reports import report_of
from protocol.commands import Migrated
from protocol.messages import MigrationProgress

UUID = "0a0b0c0d-1111-4222-8333-444455556666"


@pytest.mark.parametrize(
    ("state", "reason", "persistent", "outgoing", "word"),
    [
        (1, 1, True, False, "running"),
        (2, 0, True, False, "running"),
        (4, 0, True, False, "running"),
        (3, 1, True, False, "paused"),
        (7, 0, True, False, "paused"),
        (1, 1, True, True, "outgoing"),
        (3, 2, True, True, "outgoing"),
        (3, 2, False, False, "incoming"),
        (3, 2, True, False, "paused"),
        (5, 1, True, False, "shutoff"),
        (5, 3, True, False, "crashed"),
        (6, 1, True, True, "crashed"),
    ],
)
def test_states(state: int, reason: int, persistent: bool, outgoing: bool, word: str) -> None:
    assert states.domain_state(state, reason, persistent=persistent, outgoing=outgoing) == word


@pytest.mark.parametrize(
    ("event", "detail", "active", "words", "state"),
    [
        (0, 0, False, ("defined", "added"), "shutoff"),
        (0, 1, True, ("defined", "updated"), "running"),
        (1, 0, False, ("undefined", "removed"), None),
        (1, 0, True, ("undefined", "removed"), "running"),
        (2, 0, True, ("started", "booted"), "running"),
        (2, 1, True, ("started", "migrated"), "incoming"),
        (3, 0, True, ("suspended", "paused"), "paused"),
        (4, 1, True, ("resumed", "migrated"), "running"),
        (5, 0, False, ("stopped", "shutdown"), "shutoff"),
        (5, 3, False, ("stopped", "migrated"), None),
        (5, 5, False, ("stopped", "failed"), "crashed"),
        (6, 1, True, ("shutdown", "guest"), "running"),
        (8, 0, True, ("crashed", "panicked"), "crashed"),
        (5, 99, False, ("stopped", "99"), "shutoff"),
        (77, 3, True, ("event-77", "3"), "running"),
    ],
)
def test_events(event: int, detail: int, active: bool, words: tuple[str, str], state: str | None) -> None:
    assert states.event_words(event, detail) == words
    assert states.state_after(*words, active=active) == state


def test_progress_counts_memory_and_disks() -> None:
    stats = {
        "type": 2, "operation": 5, "time_elapsed": 1500, "data_total": 100, "data_processed": 60,
        "data_remaining": 40, "memory_bps": 10, "disk_bps": 5, "memory_dirty_rate": 3,
        "memory_page_size": 4096, "memory_iteration": 2, "downtime": 7, "memory_total": 90,
    }  # fmt: skip
    assert progress_of(stats) == MigrationProgress(
        elapsed=1.5,
        total=100,
        processed=60,
        remaining=40,
        bandwidth=15.0,
        dirty_rate=12288.0,
        iteration=2,
        downtime_ms=7,
    )
    assert migrated(stats, MigrationProgress()) == Migrated(
        total_ms=1500, downtime_ms=7, transferred=60, memory_total=90
    )
    assert migrated({}, MigrationProgress(elapsed=2.5, processed=9)) == Migrated(
        total_ms=2500, downtime_ms=0, transferred=9
    )


def test_only_a_running_migration_away_from_here_is_outgoing() -> None:
    assert is_outgoing({"type": 2, "operation": 5})
    assert is_outgoing({"type": 1})
    assert not is_outgoing({"type": 2, "operation": 4})
    assert not is_outgoing({"type": 0})
    assert not is_outgoing({})


def test_a_report_takes_live_figures_first_and_the_xml_else() -> None:
    facts = DomainFacts(
        uuid=UUID, name="w", kind="kvm", cpus=2, max_cpus=4, memory_mib=512, max_memory_mib=1024,
        macs=("52:54:00:00:00:01",), nics=(), stamped=None,
    )  # fmt: skip
    live = {
        "state.state": 1, "state.reason": 1, "cpu.time": 2_500_000_000, "vcpu.current": 3,
        "balloon.current": 300 * 1024, "balloon.maximum": 2048 * 1024, "balloon.available": 290 * 1024,
        "balloon.usable": 200 * 1024, "balloon.unused": 100 * 1024,
    }  # fmt: skip
    report = report_of(UUID, "w", live, facts, persistent=True, outgoing=False)
    assert (report.cpus, report.memory_mib, report.memory_maximum_mib, report.memory_used_mib) == (
        3,
        300,
        2048,
        90,
    )
    assert (report.cpu_seconds, report.state, report.ours, report.macs) == (2.5, "running", False, facts.macs)
    still = report_of(
        UUID, "w", {"state.state": 5, "state.reason": 0}, facts, persistent=True, outgoing=False
    )
    assert (still.cpus, still.memory_mib, still.memory_maximum_mib, still.memory_used_mib) == (
        2,
        512,
        1024,
        0,
    )
    assert still.state == "shutoff"
    assert report_of(UUID, "w", live, None, persistent=True, outgoing=True).state == "outgoing"


@pytest.mark.parametrize(
    ("code", "text", "word"),
    [
        (42, "Domain not found", "not_found"),
        (55, "domain is not running", "refused"),
        (78, "job was aborted", "aborted"),
        (87, "resource busy", "busy"),
        (68, "cannot acquire state change lock", "busy"),
        (67, "unsupported configuration", "unsupported"),
        (38, "cannot write: No space left on device", "no_space"),
        (1, "something", "failed"),
        (None, "something", "failed"),
    ],
)
def test_libvirts_errors_become_codes_and_sentences(code: int | None, text: str, word: str) -> None:
    error = errors.from_libvirt(code, text + ".", "starting VM web")
    assert (error.code, error.message) == (word, f"starting VM web failed: {text}")


def test_errors_of_files() -> None:
    full = errors.from_os(OSError(errno.ENOSPC, "No space left on device", "/pool/x"), "making a disk")
    assert (full.code, "/pool/x" in full.message) == ("no_space", True)
    assert errors.from_os(OSError(errno.EIO, "Input/output error"), "reading").code == "failed"
    down = errors.hypervisor_down("qemu:///system", "no answer")
    assert (down.code, "qemu:///system" in down.message) == ("hypervisor_down", True)


@pytest.mark.parametrize(
    ("transport", "address", "uri"),
    [
        ("tcp", "10.0.0.7", "qemu+tcp://10.0.0.7/system"),
        ("tls", "host.example", "qemu+tls://host.example/system"),
        ("ssh", "fd00::7", "qemu+ssh://root@[fd00::7]/system"),
    ],
)
def test_addresses_in_uris(transport: str, address: str, uri: str) -> None:
    assert names.migrate_uri(transport, address) == uri


def test_a_transport_that_is_unknown_is_named() -> None:
    with pytest.raises(ValueError, match="'udp'; it must be ssh, tls or tcp"):
        names.migrate_uri("udp", "x")
    assert names.migration_stream("fd00::7") == "tcp://[fd00::7]"
    assert names.migration_stream("10.0.0.7") == "tcp://10.0.0.7"


def test_devices_of_the_host() -> None:
    text = """[{"ifname":"lo","link_type":"loopback"},{"ifname":"eth0","link_type":"ether"},
    {"ifname":"veth1","link_type":"ether","linkinfo":{"info_kind":"veth"}},
    {"ifname":"br0","link_type":"ether","linkinfo":{"info_kind":"bridge"}},
    {"ifname":"vnet0","link_type":"ether","linkinfo":{"info_kind":"tun"}}]"""
    devices = parse_links(text)
    assert devices[0] == Device("lo", "", True)
    assert bridges_of(devices) == ("br0",)
    assert uplinks_of(devices) == ("eth0", "veth1")
    with pytest.raises(ValueError, match="Expecting"):
        parse_links("Object is unknown")
