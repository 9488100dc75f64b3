"""`run_server.py setup` on a real libvirt host: says what it will do, asks, and then has nothing to do."""

from __future__ import annotations

import os
import shutil
import sys

from lab.api import Lab
from tests.live.conftest import PROJECT


def test_setup_asks_prepares_and_is_done(lab: Lab) -> None:
    host = lab.host("h3")
    command = [
        sys.executable, str(PROJECT / "run_server.py"), "setup", "--hypervisor", "qemu:///system",
        "--pool", "prepared", "--pool-path", "/var/lib/hpgreedy/prepared", "--state", "/var/lib/hpgreedy/st",
    ]  # fmt: skip
    try:
        declined = host.run(command, text="n\n", check=False)
        assert "make the storage pool prepared in /var/lib/hpgreedy/prepared" in declined.stdout
        assert "make the state folder /var/lib/hpgreedy/st" in declined.stdout
        assert declined.returncode == 1
        assert "prepared" not in host.virsh("pool-list", "--all", "--name").split()
        agreed = host.run([*command, "--yes"], check=False)
        assert agreed.returncode == 0, agreed.stderr
        assert "running" in host.virsh("pool-info", "prepared")
        assert host.run(["stat", "-c", "%a", "/var/lib/hpgreedy/st"]).stdout.strip() == "700"
        again = host.run([*command, "--yes"], check=False)
        assert again.returncode == 0
        assert "make the storage pool" not in again.stdout
    finally:
        host.virsh("pool-destroy", "prepared", check=False)
        host.virsh("pool-undefine", "prepared", check=False)


def test_setup_without_libvirt_says_what_to_install(lab: Lab) -> None:
    command = [
        sys.executable, str(PROJECT / "run_server.py"), "setup", "--yes", "--state", "/run/never",
        "--hypervisor", "qemu+unix:///system?socket=/run/no-such-socket",
    ]  # fmt: skip
    done = lab.host("h3").run(command, check=False)
    assert done.returncode == 1
    assert "apt install libvirt-daemon-system" in done.stdout + done.stderr


def test_setup_configures_locks_and_tls_on_a_host_that_has_neither() -> None:
    lab = Lab.up(f"b{os.getpid() % 100000}", 2)
    try:
        host = lab.host("h1")
        etc = host.data_folder / "etc"
        plain = (etc / "libvirt/qemu.conf").read_text()
        plain = "\n".join(line for line in plain.splitlines() if "lock" not in line and "tls" not in line)
        (etc / "libvirt/qemu.conf").write_text(plain + "\n")
        (etc / "libvirt/qemu-lockd.conf").unlink()
        shutil.rmtree(etc / "pki/CA")
        command = [sys.executable, str(PROJECT / "run_server.py"), "setup", "--state", "/var/lib/hpgreedy/st"]
        declined = host.run(command, text="n\n", check=False)
        assert "lock_manager = lockd" in declined.stdout
        assert "make certificates in /etc/pki" in declined.stdout
        assert (etc / "libvirt/qemu.conf").read_text() == plain + "\n"
        done = host.run([*command, "--yes"], check=False)
        assert done.returncode == 1
        assert "restart libvirtd with --listen yourself" in done.stdout
        assert plain in (etc / "libvirt/qemu.conf").read_text(), "what was set stays"
        lab.kill_libvirtd("h1")
        lab.start_libvirtd("h1")
        again = host.run([*command, "--yes"], check=False)
        assert again.returncode == 0, again.stdout + again.stderr
        assert (host.pool_folder / ".locks").is_dir(), "libvirt took the folder of locks"
        assert host.run(["virsh", "-c", "qemu+tls://h1/system", "list"], check=False).returncode != 0, (
            "nobody trusts the certificates that setup made"
        )
    finally:
        lab.down()
