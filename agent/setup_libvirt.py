"""How libvirt must be configured on a host: locks that keep a VM from running twice, TLS between hosts."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from agent import pki
from agent.drivers.libvirt.conf import setting, with_setting
from agent.drivers.libvirt.locks import CONFIG, SOCKET
from agent.drivers.libvirt.names import LOCKSPACE
from agent.errors import AgentError

TLS_PORT = 16514
_SYSTEMD = Path("/run/systemd/system")
_SECONDS = 60.0
_LISTENING = "0A"
_LIBRARIES = (Path("/usr/lib"), Path("/usr/lib64"))


class Configured(msgspec.Struct, frozen=True, kw_only=True):
    """What was found: libvirt's files by name, certificates, and what runs.

    `service` is the daemon of guests that systemd runs (libvirtd, or virtqemud of libvirt in parts); empty =
    systemd does not run it.
    """

    texts: dict[str, str]
    certificates: Literal["none", "ours", "foreign"] = "none"
    lock_daemon: bool = True
    locks_served: bool = False
    tls_served: bool = False
    service: str = ""


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done: files by name with their new text, what changes in each, and whether to restart."""

    files: dict[str, str]
    changes: dict[str, tuple[str, ...]]
    certificates: bool
    restart: bool


def work(found: Configured, pool_path: Path) -> Work:
    """What differs from what is needed; every other setting stays as it is; pure."""
    wanted: dict[str, dict[str, str | int]] = {
        "libvirtd.conf": {"listen_tls": 1},
        "qemu.conf": {
            "lock_manager": "lockd",
            "default_tls_x509_cert_dir": str(pki.FOLDER / "qemu"),
            "default_tls_x509_verify": 1,
        },
        "qemu-lockd.conf": {"file_lockspace_dir": str(pool_path / LOCKSPACE)},
    }
    if setting(found.texts.get("qemu-lockd.conf", ""), "file_lockspace_dir"):
        # Where locks lie already they must stay: guests that run hold them there.
        del wanted["qemu-lockd.conf"]
    files, changes = {}, {}
    for name, settings in wanted.items():
        text = found.texts.get(name, "")
        different = {key: value for key, value in settings.items() if setting(text, key) != str(value)}
        for key, value in different.items():
            text = with_setting(text, key, value)
        if different:
            files[name] = text
            changes[name] = tuple(f"{key} = {value}" for key, value in different.items())
    stale = bool(files) or not (found.locks_served and found.tls_served)
    return Work(files=files, changes=changes, certificates=found.certificates == "none", restart=stale)


def restart_commands(service: str) -> tuple[tuple[str, ...], ...]:
    """What has systemd serve locks and TLS and take the new configuration; running guests go on."""
    tls = "virtproxyd" if service == "virtqemud" else "libvirtd"
    stopped = tuple(f"{name}.service" for name in dict.fromkeys((service, tls)))
    return (
        ("systemctl", "enable", "--now", "virtlockd.socket"),
        # Its socket for TLS cannot be added to a daemon that runs.
        ("systemctl", "stop", *stopped),
        ("systemctl", "enable", "--now", f"{tls}-tls.socket"),
        ("systemctl", "start", f"{service}.service"),
    )


def look() -> Configured | None:
    """Look at this host; None for who may not read libvirt's files."""
    if os.geteuid() != 0:
        return None
    texts = {}
    for name in ("libvirtd.conf", "qemu.conf", "qemu-lockd.conf"):
        with contextlib.suppress(OSError):
            texts[name] = (CONFIG / name).read_text("utf-8", "replace")
    here = pki.look(pki.FOLDER)
    held = here.certificate is not None and not (here.problem and not here.foreign)
    return Configured(
        texts=texts,
        certificates="none" if not held else ("foreign" if here.foreign else "ours"),
        lock_daemon=shutil.which("virtlockd") is not None and any(map(_has_plugin, _LIBRARIES)),
        locks_served=SOCKET.exists(),
        tls_served=any(_listens(Path(f"/proc/net/{table}"), TLS_PORT) for table in ("tcp", "tcp6")),
        service=_service(),
    )


def write(name: str, text: str) -> None:
    """Put one of libvirt's files in place, the one before kept beside it. Raises OSError."""
    path = CONFIG / name
    mode = 0o600
    with contextlib.suppress(FileNotFoundError):
        mode = path.stat().st_mode & 0o777
        shutil.copy2(path, path.with_name(f"{name}.before-hpgreedy"))
    fresh = path.with_name(f".{name}.hpgreedy")
    fresh.write_text(text, "utf-8")
    fresh.chmod(mode)
    fresh.replace(path)


def restart(service: str) -> None:
    """Have the changes take effect. Raises AgentError that names the command which failed."""
    for command in restart_commands(service):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        except (OSError, subprocess.SubprocessError) as error:
            raise AgentError(f"`{' '.join(command)}` could not be run: {error}") from error
        if done.returncode != 0:
            raise AgentError(
                f"`{' '.join(command)}` failed: {done.stderr.strip()[:300]}; running guests go on; look with "
                f"`systemctl status {service}`, then run setup again"
            )


def _has_plugin(libraries: Path) -> bool:
    return any(libraries.glob("libvirt/lock-driver/lockd.so")) or any(
        libraries.glob("*/libvirt/lock-driver/lockd.so")
    )


def _service() -> str:
    if not _SYSTEMD.is_dir():
        return ""
    for service in ("virtqemud", "libvirtd"):
        for unit in (f"{service}.service", f"{service}.socket"):
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                asked = ["systemctl", "is-active", "--quiet", unit]
                if subprocess.run(asked, timeout=_SECONDS, check=False).returncode == 0:
                    return service
    return ""


def _listens(table: Path, port: int) -> bool:
    return any(local == port and state == _LISTENING for local, state in _sockets(table))


def _sockets(table: Path) -> Iterator[tuple[int, str]]:
    with contextlib.suppress(OSError):
        for line in table.read_text("ascii").splitlines()[1:]:
            parts = line.split()
            yield int(parts[1].rsplit(":", 1)[1], 16), parts[3]
