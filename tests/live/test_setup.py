"""`run_server.py setup` on a real libvirt host: says what it will do, asks, and then has nothing to do."""

from __future__ import annotations

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
