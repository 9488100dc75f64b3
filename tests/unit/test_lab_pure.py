"""The parts of the lab that need no root: names, slots, state, archives, argument lists."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab import cpio, guest, names, network, programs_record, record_and_run, state
from lab.cli import main
from lab.errors import LabError, UsageError
from lab.locks import held
from lab.processes import Process, end


def test_a_slot_is_the_first_that_neither_a_lab_nor_the_machine_has() -> None:
    known = ["192.0.2.0/24", "10.65.3.0/24", "10.66.0.0/15"]
    assert network.choose_slot(known, {0}).number == 4


def test_without_a_free_slot_the_reason_is_said() -> None:
    with pytest.raises(LabError, match="no free subnet"):
        network.choose_slot(["10.0.0.0/8"], set())


def test_interface_names_fit_and_differ() -> None:
    every = []
    for number in range(names.SLOTS):
        slot = names.Slot(number)
        every += [slot.bridge, *(slot.veth(host) for host in names.host_names(names.MAX_HOSTS))]
    assert len(set(every)) == len(every)
    assert max(map(len, every)) <= 15


def test_every_bridge_and_cable_has_its_own_mac() -> None:
    hosts = ["h0", *names.host_names(names.MAX_HOSTS)]
    slots = [names.Slot(number) for number in range(names.SLOTS)]
    macs = [slot.mac(port, host) for slot in slots for port in ("bridge", "cable") for host in hosts]
    assert len(set(macs)) == len(macs)


def test_addresses_follow_the_slot() -> None:
    slot = names.Slot(3)
    assert (slot.net, slot.gateway, slot.address("h2")) == ("10.67", "10.67.0.1", "10.67.0.12")


@pytest.mark.parametrize(
    ("mac", "address"),
    [
        ("52:54:00:00:00:05", "10.64.128.5"),
        ("52:54:00:aa:01:ff", "10.64.129.255"),
        ("52:54:00:AA:F1:02", "10.64.241.2"),
    ],
)
def test_a_guests_address_comes_from_its_mac(mac: str, address: str) -> None:
    assert names.guest_ip(mac, "10.64") == address


def test_a_bad_mac_is_named() -> None:
    with pytest.raises(UsageError, match="mac: '52:54' is not"):
        names.guest_ip("52:54", "10.64")


@pytest.mark.parametrize("name", ["", "A", "1lab", "a_b", "x" * 17, "../etc", ".slots"])
def test_bad_lab_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="name: "):
        names.check_lab_name(name)


def test_host_uuids_are_stable_and_differ() -> None:
    assert names.host_uuid("a", "h1") == names.host_uuid("a", "h1")
    assert len({names.host_uuid(lab, host) for lab in "ab" for host in ("h1", "h2")}) == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["up", "--hosts", "0"], "hosts: 0 is not possible; a lab has 1 to 32 hosts"),
        (["up", "--storage", "nfs"], "storage: 'nfs' is unknown; it is 'shared' or 'local'"),
        (["up", "--name", "No"], "name: 'No' is not usable"),
        (["fly"], "invalid choice: 'fly'"),
        (["down", "--name", "/"], "name: '/' is not usable"),
    ],
)
def test_bad_usage_is_one_sentence_and_exit_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1


def test_an_unknown_lab_says_how_to_make_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HPG_LAB_ROOT", str(tmp_path))
    assert main(["status", "--name", "none"]) == 1
    assert "python -m lab up --name none" in capsys.readouterr().err


def test_state_survives_writing_and_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPG_LAB_ROOT", str(tmp_path))
    here = Process.of(os.getpid())
    assert here is not None
    written = state.LabState(name="x", slot=5, hosts=2, storage="local").with_init("h1", here)
    state.save(written)
    assert state.load("x") == written
    assert state.lab_names() == ["x"]


def test_damaged_state_is_an_error_that_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPG_LAB_ROOT", str(tmp_path))
    path = tmp_path / "run/hpgreedy-lab/x/state.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(LabError, match=r"state\.json cannot be read"):
        state.load("x")


def test_a_recorded_program_is_ended_and_no_other(tmp_path: Path) -> None:
    command = record_and_run.command_line(tmp_path, "sleeper", ["sleep", "60"])
    with subprocess.Popen(command) as process, subprocess.Popen(["sleep", "60"]) as bystander:
        while not programs_record.read(tmp_path):
            assert process.poll() is None
        assert programs_record.end_all(tmp_path) == []
        assert process.wait(timeout=5) < 0
        assert bystander.poll() is None
        bystander.kill()


def test_a_number_that_was_used_again_is_not_killed() -> None:
    with subprocess.Popen(["sleep", "60"]) as bystander:
        now = Process.of(bystander.pid)
        assert now is not None
        for stranger in (
            Process(now.pid, now.start - 1, now.boot),
            Process(now.pid, now.start, "other boot"),
        ):
            assert end([stranger], grace=0) == []
        assert bystander.poll() is None
        bystander.kill()


def test_a_held_lock_is_waited_for_and_then_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.locks.lock_root", lambda: tmp_path)
    with held("x"), pytest.raises(LabError, match="another lab command"), held("x", seconds=0.2):
        pass
    assert list(tmp_path.iterdir()) == []


def test_modules_are_loaded_after_what_they_need() -> None:
    needs = {"virtio_net": ["net_failover", "virtio"], "net_failover": ["failover"], "virtio_blk": ["virtio"]}
    order = guest.load_order(["virtio_net", "virtio_blk"], needs)
    assert order == ["failover", "net_failover", "virtio", "virtio_net", "virtio_blk"]
    assert guest.module_dependencies(b"x\0depends=a,b\0y") == ["a", "b"]
    assert guest.module_dependencies(b"x\0depends=\0y") == []


def test_the_archive_is_what_other_tools_read() -> None:
    made = cpio.archive([cpio.folder("bin"), cpio.file("bin/a", b"hello", executable=True), cpio.console()])
    assert made.startswith(b"070701")
    assert len(made) % 4 == 0
    assert b"TRAILER!!!" in made


def test_the_bootstrap_does_not_pollute_the_path_of_the_command(tmp_path: Path) -> None:
    shadow = tmp_path / "json.py"
    shadow.write_text("raise SystemExit('shadowed')")
    command = record_and_run.command_line(tmp_path, "p", [sys.executable, "-P", "-c", "print('fine')"])
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (0, "fine\n")
