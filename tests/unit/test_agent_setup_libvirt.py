from pathlib import Path

import pytest

from agent.drivers.libvirt.conf import setting, with_setting
from agent.drivers.libvirt.locks import locking
from agent.ports import DriverSettings
from agent.setup import Found, plan
from agent.setup_libvirt import Configured, restart_commands, work

POOL = Path("/p")
SETTINGS = DriverSettings(
    hypervisor="qemu:///system", address="127.0.0.1", state=Path("/s/agent"), pool_path=POOL
)
DONE = Configured(
    texts={
        "libvirtd.conf": "listen_tls = 1\n",
        "qemu.conf": 'lock_manager = "lockd"\ndefault_tls_x509_cert_dir = "/etc/pki/qemu"\n'
        "default_tls_x509_verify = 1\n",
        "qemu-lockd.conf": 'file_lockspace_dir = "/p/.locks"\n',
    },
    certificates="ours",
    locks_served=True,
    tls_served=True,
    service="libvirtd",
)


def planned(libvirt):
    return plan(
        Found(qemu_version=10_000_000, pool="ready", state_mode=0o700, kvm=True, libvirt=libvirt), SETTINGS
    )


def test_settings_are_read_and_changed_one_at_a_time():
    text = '# a = 1\na = "x" # said\nb=2 # two\n'
    assert (setting(text, "a"), setting(text, "b"), setting(text, "c")) == ("x", "2", None)
    assert setting('a = "1"\na = "2"\n', "a") == "2", "the last one counts, as for libvirt"
    changed = with_setting(with_setting(text, "a", "y"), "c", 3)
    assert changed == '# a = 1\nb=2 # two\na = "y"\nc = 3\n'


def test_a_fresh_host_is_planned_in_words_and_files():
    found = planned(Configured(texts={"qemu.conf": "# nothing\n"}, service="libvirtd"))
    assert [step.kind for step in found.steps] == ["certificates", "file", "file", "file", "restart"]
    text = " ".join(step.text for step in found.steps)
    for words in (
        "lock_manager = lockd",
        "file_lockspace_dir = /p/.locks",
        "listen_tls = 1",
        "restart libvirtd",
    ):
        assert words in text
    assert "guests that run go on" in text
    qemu = next(step for step in found.steps if step.name == "qemu.conf")
    assert qemu.content.startswith("# nothing\n")
    assert setting(qemu.content, "lock_manager") == "lockd"


def test_a_host_that_is_set_up_needs_nothing():
    assert planned(DONE).steps == ()
    assert planned(DONE).missing == ()


def test_without_systemd_the_restart_is_the_operators():
    found = planned(Configured(texts={}, service=""))
    assert "restart" not in [step.kind for step in found.steps]
    assert any("restart libvirtd" in text for text in found.missing)


def test_where_locks_lie_already_they_stay():
    texts = {**DONE.texts, "qemu-lockd.conf": 'file_lockspace_dir = "/elsewhere"\n'}
    wanted = work(Configured(texts=texts, certificates="foreign", locks_served=True, tls_served=True), POOL)
    assert (wanted.files, wanted.certificates, wanted.restart) == ({}, False, False)


def test_foreign_certificates_are_noted_and_kept():
    found = planned(Configured(texts=DONE.texts, certificates="foreign", locks_served=True, tls_served=True))
    assert found.steps == ()
    assert any("not HP Greedy's" in note for note in found.notes)


@pytest.mark.parametrize(("service", "tls"), [("libvirtd", "libvirtd"), ("virtqemud", "virtproxyd")])
def test_a_socket_is_added_while_its_daemon_is_stopped(service, tls):
    commands = [" ".join(command) for command in restart_commands(service)]
    stop = next(n for n, text in enumerate(commands) if " stop " in text)
    socket = next(n for n, text in enumerate(commands) if f"{tls}-tls.socket" in text)
    assert stop < socket < len(commands) - 1
    assert commands[-1] == f"systemctl start {service}.service"


LOCKD = DONE.texts["qemu.conf"]


@pytest.mark.parametrize(
    ("qemu", "lockd", "serving", "words", "leases"),
    [
        (LOCKD, DONE.texts["qemu-lockd.conf"], True, "", "/p/.locks"),
        ("", DONE.texts["qemu-lockd.conf"], True, "lock_manager 'nop'", None),
        ('lock_manager = "sanlock"', "", True, "'sanlock'", None),
        (LOCKD, DONE.texts["qemu-lockd.conf"], False, "virtlockd does not run", None),
        (LOCKD, "", True, "no file_lockspace_dir", None),
        (LOCKD, 'file_lockspace_dir = "/other"', True, "not in the pool /p", "/other"),
    ],
)
def test_what_libvirts_files_say_of_locks(qemu, lockd, serving, words, leases):
    found = locking(qemu, lockd, POOL, serving)
    assert words in found.problem
    assert bool(found.problem) == bool(words)
    assert found.lockspace == (None if leases is None else Path(leases))
