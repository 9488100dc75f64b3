"""`run_server.py setup`: makes a host with libvirt ready, and says what is missing.

It looks, plans steps as data, shows them, asks, and only then changes anything.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from agent import pki, setup_libvirt
from agent.drivers import make_driver
from agent.drivers.libvirt.locks import CONFIG
from agent.drivers.simulated.uri import is_simulated
from agent.errors import AgentError
from agent.options import SETUP_OPTIONS, TABLE
from agent.ports import DriverSettings
from protocol.commands import CommandError
from protocol.options import Parser
from protocol.transport.access import default_state_root

OLD_EMULATION = 9_000_000
PoolState = Literal["ready", "stopped", "absent", "elsewhere"]


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a look at the host showed. Versions as libvirt counts them (9000000 = 9.0.0), 0 = none.

    `state_mode` are the permission bits of the state folder, None = there is none. `libvirt` is how it is
    configured, None = that was not looked at.
    """

    libvirt_problem: str = ""
    qemu_version: int = 0
    qemu_img: bool = True
    kvm: bool = True
    pool: PoolState = "absent"
    pool_at: str = ""
    state_mode: int | None = None
    libvirt: setup_libvirt.Configured | None = None


class Step(msgspec.Struct, frozen=True):
    """One change: `kind` for the program, `text` for a person; a file's name and new content."""

    kind: Literal["state", "state_mode", "pool", "certificates", "file", "restart"]
    text: str
    name: str = ""
    content: str = ""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What will be changed, what only a person can mend, and what is worth knowing."""

    steps: tuple[Step, ...] = ()
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def plan(found: Found, settings: DriverSettings) -> Plan:
    """What has to be done on a host that looks like `found`; pure."""
    steps: list[Step] = []
    missing: list[str] = []
    notes: list[str] = []
    if found.state_mode is None:
        steps.append(Step("state", f"make the state folder {settings.state} (mode 0700)"))
    elif found.state_mode & 0o077:
        steps.append(Step("state_mode", f"change the mode of {settings.state} to 0700; it holds secret keys"))
    if found.libvirt_problem:
        missing.append(found.libvirt_problem)
        return Plan(steps=tuple(steps), missing=tuple(missing))
    if not found.qemu_version:
        missing.append("libvirt knows no QEMU: type `apt install qemu-system-x86`")
    if not found.qemu_img:
        missing.append("qemu-img is not there: type `apt install qemu-utils`")
    if found.pool == "elsewhere":
        missing.append(
            f"the pool {settings.pool} exists at {found.pool_at}: give --pool-path {found.pool_at}, or "
            "another name with --pool"
        )
    elif found.pool == "absent":
        steps.append(
            Step("pool", f"make the storage pool {settings.pool} in {settings.pool_path}, started at boot")
        )
    elif found.pool == "stopped":
        steps.append(Step("pool", f"start the storage pool {settings.pool}"))
    if found.libvirt is not None:
        more = _libvirt_plan(found.libvirt, settings)
        steps += more.steps
        missing += more.missing
        notes += more.notes
    if not found.kvm:
        notes.append("there is no /dev/kvm: guests are emulated, which is slow")
        if 0 < found.qemu_version < OLD_EMULATION:
            notes.append(
                "QEMU before 9 can corrupt emulated guests in a live migration, so they are not moved: "
                "install QEMU 9 or later (on Debian 12: `apt install -t bookworm-backports qemu-system-x86`)"
            )
    return Plan(steps=tuple(steps), missing=tuple(missing), notes=tuple(notes))


def _libvirt_plan(found: setup_libvirt.Configured, settings: DriverSettings) -> Plan:
    steps: list[Step] = []
    missing: list[str] = []
    notes: list[str] = []
    wanted = setup_libvirt.work(found, settings.pool_path)
    if wanted.certificates:
        steps.append(
            Step(
                "certificates",
                f"make certificates in {pki.FOLDER} with which libvirt can listen for TLS; nobody trusts "
                "them, and the agent puts the coordinator's in their place",
            )
        )
    if found.certificates == "foreign":
        notes.append(f"the certificates in {pki.FOLDER} are not HP Greedy's: they are used as they are")
    for name, changes in wanted.changes.items():
        text = f"set {', '.join(changes)} in {CONFIG / name}"
        steps.append(Step("file", text, name, wanted.files[name]))
    if not found.lock_daemon:
        missing.append(
            "virtlockd or its plugin is not there: type `apt install libvirt-daemon-lock "
            "libvirt-daemon-plugin-lockd` (on Debian 12 `apt install libvirt-daemon`)"
        )
    elif wanted.restart and found.service:
        steps.append(
            Step(
                "restart",
                f"restart {found.service}, with sockets for locks and TLS; guests that run go on, and have a "
                "lock once they are started or migrated the next time",
                found.service,
            )
        )
    elif wanted.restart:
        missing.append(
            "systemd does not run libvirtd here: start virtlockd, then restart libvirtd with --listen "
            "yourself; guests that run go on"
        )
    return Plan(steps=tuple(steps), missing=tuple(missing), notes=tuple(notes))


def look(settings: DriverSettings) -> Found:
    """Look at this host; changes nothing."""
    try:
        mode = settings.state.stat().st_mode & 0o777
    except FileNotFoundError:
        mode = None
    found = Found(
        state_mode=mode, kvm=Path("/dev/kvm").exists(), qemu_img=shutil.which("qemu-img") is not None
    )
    if is_simulated(settings.hypervisor):
        return msgspec.structs.replace(
            found, qemu_version=OLD_EMULATION, pool="ready", kvm=True, qemu_img=True
        )
    try:
        make_driver(settings)
        from agent.drivers.libvirt.connection import open_connection  # noqa: PLC0415

        handle = open_connection(settings.hypervisor)
    except (AgentError, CommandError) as error:
        hint = (
            ""
            if isinstance(error, AgentError)
            else (
                "; type `apt install libvirt-daemon-system qemu-system-x86 qemu-utils`, then "
                "`systemctl start libvirtd`"
            )
        )
        return msgspec.structs.replace(found, libvirt_problem=f"{error}{hint}")
    try:
        pool, at = _pool(handle, settings)
        return msgspec.structs.replace(
            found,
            qemu_version=_qemu_version(handle),
            pool=pool,
            pool_at=at,
            libvirt=setup_libvirt.look(),
        )
    finally:
        handle.close()


def apply(step: Step, settings: DriverSettings) -> None:
    """Carry out one step. Raises AgentError."""
    try:
        if step.kind == "pool":
            driver = make_driver(settings)
            driver.connect(lambda _event: None, lambda _reason: None)
            driver.close()
        elif step.kind == "certificates":
            pki.write_placeholder(pki.FOLDER, time.time())
        elif step.kind == "file":
            setup_libvirt.write(step.name, step.content)
        elif step.kind == "restart":
            setup_libvirt.restart(step.name)
        else:
            settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
            settings.state.chmod(0o700)
    except CommandError as error:
        raise AgentError(f"could not {step.text}: {error.message}") from error
    except OSError as error:
        raise AgentError(f"could not {step.text}: {error.strerror}") from error


def run(
    argv: Sequence[str],
    *,
    look_at: Callable[[DriverSettings], Found] = look,
    apply_step: Callable[[Step, DriverSettings], None] = apply,
    ask: Callable[[str], str] = input,
) -> int:
    """The whole conversation; 0 ready, 1 something is missing or was refused. Raises OptionError."""
    yes, settings = _options(argv)
    found = plan(look_at(settings), settings)
    for note in found.notes:
        _say(f"note: {note}")
    for missing in found.missing:
        _say(f"missing: {missing}")
    if found.steps:
        _say("this will be changed:")
        for step in found.steps:
            _say(f"  - {step.text}")
        if not yes and not _agreed(ask):
            _say("nothing was changed")
            return 1
        for step in found.steps:
            apply_step(step, settings)
            _say(f"done: {step.text}")
    if found.missing:
        return 1
    _say("this host is ready" if found.steps else "this host is ready; there is nothing to do")
    return 0


def _options(argv: Sequence[str]) -> tuple[bool, DriverSettings]:
    parser = Parser(
        prog="run_server.py setup",
        description="Prepare this host: check libvirt and QEMU, make the storage pool and the state folder, "
        "configure locks and TLS.",
        allow_abbrev=False,
    )
    parser.add_argument("--yes", action="store_true", help="change without asking")
    TABLE.add_to(parser, SETUP_OPTIONS)
    given: dict[str, Any] = vars(parser.parse_args(list(argv)))
    yes = bool(given.pop("yes"))
    options = TABLE.chosen(given, SETUP_OPTIONS)
    root = options["state-root"] or default_state_root().absolute()
    return yes, DriverSettings(
        hypervisor=options["hypervisor"],
        address="127.0.0.1",
        state=options["state"] or root / "agent",
        pool=options["pool"],
        pool_path=options["pool-path"],
        accelerator="qemu",  # the probe of kvm belongs to the agent's own start
    )


def _agreed(ask: Callable[[str], str]) -> bool:
    try:
        return ask("go on? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        _say("")
        return False


def _pool(handle: Any, settings: DriverSettings) -> tuple[PoolState, str]:
    from agent.drivers.libvirt.storage_xml import pool_path  # noqa: PLC0415

    for pool in handle.listAllStoragePools():
        if pool.name() == settings.pool:
            _kind, at = pool_path(pool.XMLDesc())
            if Path(at) != settings.pool_path:
                return "elsewhere", at
            return ("ready" if pool.isActive() else "stopped"), at
    return "absent", ""


def _qemu_version(handle: Any) -> int:
    try:
        return int(handle.getVersion())
    except Exception:
        return 0


def _say(text: str) -> None:
    sys.stdout.write(text + os.linesep)
