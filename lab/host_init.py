"""A host's first process: makes the namespaces, sets the host up, then only collects orphans.

It is process 1 of the host's PID namespace, so that when it dies, however it dies, the kernel kills
everything that ever ran in the host. It does nothing before the starter has written down who it is and sent
`go`; if the starter dies earlier, it sees the end of its input and goes.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from lab import cgroups, linux

_NAMESPACES = (
    linux.CLONE_NEWNS
    | linux.CLONE_NEWUTS
    | linux.CLONE_NEWIPC
    | linux.CLONE_NEWNET
    | linux.CLONE_NEWPID
    | linux.CLONE_NEWCGROUP
)
_STAGE = Path("/run/.cgroups")


def main() -> None:
    """Start a host as its JSON plan in the first argument says; report on stdout."""
    plan = json.loads(sys.argv[1])
    os.setsid()
    signal.pthread_sigmask(signal.SIG_SETMASK, set())
    cgroups.join_host(plan["lab"], plan["host"])
    linux.unshare(_NAMESPACES)
    child = os.fork()
    if child:
        print(child, flush=True)
        os._exit(0)
    if sys.stdin.readline() != "go\n":
        os._exit(1)
    try:
        _set_up(plan)
    except (OSError, subprocess.SubprocessError) as error:
        detail = getattr(error, "stderr", None) or error
        print(f"failed: {str(detail).strip()}", flush=True)
        os._exit(1)
    print("ready", flush=True)
    _let_go_of_stdio()
    _collect_orphans()


def _set_up(plan: dict[str, Any]) -> None:
    cgroups.join_leaf(plan["lab"], plan["host"])
    linux.set_hostname(plan["host"])
    linux.mount("none", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
    for source, target in plan["binds"]:
        _bind(source, target)
    _mount_kernel_views(plan["lab"], plan["host"])
    subprocess.run(
        ["ip", "-batch", "-"], input=plan["ip"], text=True, capture_output=True, check=True, timeout=20
    )
    for name in ("iptables", "ip6tables", "arptables"):
        # Guests' frames only cross our own bridges: no packet filter has business with them.
        with contextlib.suppress(OSError):
            Path(f"/proc/sys/net/bridge/bridge-nf-call-{name}").write_text("0")


def _bind(source: str, target: str) -> None:
    if Path(source).is_dir():
        Path(target).mkdir(parents=True, exist_ok=True)
    elif not Path(target).exists():
        return
    linux.mount(source, str(Path(target).resolve()), flags=linux.MS_BIND)


def _mount_kernel_views(lab: str, host: str) -> None:
    """Mount this host's own /proc, /sys and cgroups (libvirt reads /sys/class/net and writes the cgroups)."""
    linux.mount("proc", "/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    staged = []
    hierarchies = cgroups.hierarchies()
    links = [
        (path.name, path.readlink())
        for path in cgroups.CGROUP_ROOT.iterdir()
        if path.is_symlink() and hierarchies != [cgroups.CGROUP_ROOT]
    ]
    for number, hierarchy in enumerate(hierarchies):
        stage = _STAGE / str(number)
        stage.mkdir(parents=True)
        linux.mount(str(hierarchy / cgroups.host_folder(lab, host)), str(stage), flags=linux.MS_BIND)
        staged.append((stage, hierarchy))
    linux.mount("sysfs", "/sys", "sysfs", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    if hierarchies != [cgroups.CGROUP_ROOT]:
        linux.mount("tmpfs", str(cgroups.CGROUP_ROOT), "tmpfs", linux.MS_NOSUID, "mode=755,size=1m")
    for stage, hierarchy in staged:
        hierarchy.mkdir(exist_ok=True)
        linux.mount(str(stage), str(hierarchy), flags=linux.MS_MOVE)
        stage.rmdir()
    for name, destination in links:
        (cgroups.CGROUP_ROOT / name).symlink_to(destination)
    _STAGE.rmdir()


def _let_go_of_stdio() -> None:
    nothing = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)
    os.chdir("/")


def _collect_orphans() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    while True:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        signal.sigwaitinfo({signal.SIGCHLD})
