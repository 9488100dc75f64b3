"""What a host's libvirtd reads: configuration, and a cache of what QEMU can do, made once per machine."""

import hashlib
import os
import shutil
from pathlib import Path

from lab.paths import cache_root

PORT = 16509
LOCKSPACE = "/var/lib/hpgreedy/pool/.locks"
_CAPABILITIES = "var/cache/libvirt/qemu/capabilities"


def libvirtd_conf(address: str, uuid: str) -> str:
    """Return libvirtd.conf: TLS, and TCP without authentication, on the host's own address only."""
    return f"""listen_tls = 1
listen_tcp = 1
listen_addr = "{address}"
tcp_port = "{PORT}"
auth_tcp = "none"
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_group = "root"
host_uuid = "{uuid}"
keepalive_interval = 5
keepalive_count = 5
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
"""


def qemu_conf(address: str) -> str:
    """Return qemu.conf for hosts that share one kernel and have no security module of their own."""
    return f"""user = "root"
group = "root"
security_driver = "none"
namespaces = []
stdio_handler = "file"
dynamic_ownership = 0
remember_owner = 0
migration_host = "{address}"
keepalive_interval = 5
keepalive_count = 5
lock_manager = "lockd"
default_tls_x509_cert_dir = "/etc/pki/qemu"
default_tls_x509_verify = 1
"""


def lockd_conf() -> str:
    """Return qemu-lockd.conf: locks lie in the pool, so that hosts which share it refuse each other."""
    return f'file_lockspace_dir = "{LOCKSPACE}"\n'


def write(host_data: Path, address: str, uuid: str) -> None:
    """Write a host's files below its data folder."""
    etc = host_data / "etc/libvirt"
    etc.mkdir(parents=True, exist_ok=True)
    (etc / "libvirtd.conf").write_text(libvirtd_conf(address, uuid))
    (etc / "qemu.conf").write_text(qemu_conf(address))
    (etc / "qemu-lockd.conf").write_text(lockd_conf())


def is_primed() -> bool:
    """Tell whether the cache holds the capabilities of this very QEMU, libvirt and kernel."""
    return _cache_folder().is_dir()


def restore(host_data: Path) -> None:
    """Give a host the cached capabilities, so that its first guest does not wait for the probing."""
    if is_primed():
        shutil.copytree(_cache_folder(), host_data / _CAPABILITIES, dirs_exist_ok=True)


def keep(host_data: Path) -> None:
    """Keep the capabilities that a host's libvirtd has just found out."""
    found = host_data / _CAPABILITIES
    if is_primed() or not found.is_dir() or not any(found.iterdir()):
        return
    cache = _cache_folder()
    for old in cache.parent.glob("capabilities-*"):
        shutil.rmtree(old, ignore_errors=True)
    temporary = cache.with_name(f"capabilities-.{os.getpid()}")
    shutil.copytree(found, temporary)
    temporary.rename(cache)


def _cache_folder() -> Path:
    parts = [os.uname().release]
    for program in ("libvirtd", "qemu-system-x86_64"):
        path = Path(shutil.which(program) or program)
        parts.append(f"{path} {path.stat().st_ctime_ns if path.exists() else 0}")
    return cache_root() / f"capabilities-{hashlib.sha256(' '.join(parts).encode()).hexdigest()[:16]}"
