"""Making a lab and taking it away. What exists is written down first, so that `down` can follow any death."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lab import cgroups, libvirt_files, network, programs_record
from lab.commands import run, run_together
from lab.enter import command_line
from lab.errors import LabError
from lab.locks import held
from lab.names import host_names, host_uuid
from lab.paths import LabPaths
from lab.processes import Process, end
from lab.state import LabState, lab_names, load, save

_TOOLS = ("ip", "libvirtd", "virtlockd", "virsh", "qemu-system-x86_64")
_OWN_FOLDERS = (
    "etc/libvirt",
    "etc/pki",
    "var/lib/libvirt",
    "var/log/libvirt",
    "var/cache/libvirt",
    "var/lib/hpgreedy",
)
_OWN_FILES = ("hosts", "hostname", "machine-id", "resolv.conf")
_PROJECT = str(Path(__file__).resolve().parent.parent)
_START_IN_PROJECT = (
    "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); module = sys.argv.pop(1); "
    "runpy.run_module(module, run_name='__main__')"
)
_START_VIRTLOCKD = ["virtlockd", "--daemon", "--pid-file", "/run/virtlockd.pid"]
_START_LIBVIRTD = ["libvirtd", "--listen", "--daemon", "--pid-file", "/run/libvirtd.pid"]


def bring_up(name: str, hosts: int, storage: str) -> tuple[LabState, bool]:
    """Make the lab unless it runs already; return its state and whether anything was made."""
    _check_machine()
    with held(name):
        state = load(name)
        if state is not None and _hosts_alive(state):
            _check_same(state, hosts, storage)
            return state, _revive_libvirtd(state)
        _clean(name, state)
        try:
            return _make(name, hosts, storage), True
        except BaseException:
            with _undisturbed():
                _clean(name, load(name))
            raise


def is_running(name: str) -> bool:
    """Tell whether all hosts of the lab run."""
    state = load(name)
    return state is not None and _hosts_alive(state)


def take_down(name: str) -> bool:
    """Take the lab away; False when there was nothing."""
    if os.geteuid() != 0:
        raise LabError("only root can take a lab away; nothing was changed; run it with sudo")
    with held(name):
        paths = LabPaths(name)
        existed = paths.run.exists() or paths.data.exists()
        with _undisturbed():
            _clean(name, load(name))
        return existed


def start_libvirtd_commands(state: LabState, hosts: list[str]) -> list[list[str]]:
    """Return the commands that start libvirtd in these hosts; each ends when its libvirtd answers."""
    return [enter(state, host, _START_LIBVIRTD) for host in hosts]


def enter(state: LabState, host: str, command: list[str]) -> list[str]:
    """Return the argument list that runs a command inside a host."""
    init = state.init_of(host)
    if init is None:
        known = ", ".join(state.host_names)
        raise LabError(f"host: {host!r} is not in lab {state.name!r}; its hosts are {known}")
    return command_line(state.name, host, init, command)


def libvirtd_process(name: str, host: str) -> int | None:
    """Return the number, inside the host, of its running libvirtd."""
    state = load(name)
    init = state.init_of(host) if state else None
    with contextlib.suppress(OSError, ValueError):
        pid = int((LabPaths(name).host_run(host) / "libvirtd.pid").read_text())
        if init and Path(f"/proc/{init.pid}/root/proc/{pid}/comm").read_text().strip() == "libvirtd":
            return pid
    return None


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise LabError("only root can make namespaces and bridges; nothing was changed; run it with sudo")
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise LabError(
            f"not installed: {', '.join(missing)}; nothing was changed; on Debian: "
            "apt install iproute2 libvirt-daemon-system libvirt-clients qemu-system-x86"
        )


def _hosts_alive(state: LabState) -> bool:
    return state.ready and all(process.alive() for _, process in state.inits)


def _check_same(state: LabState, hosts: int, storage: str) -> None:
    if (state.hosts, state.storage) != (hosts, storage):
        raise LabError(
            f"lab {state.name!r} already runs with {state.hosts} hosts and {state.storage} storage, not with "
            f"{hosts} and {storage}; it was left alone; take it down first or choose another --name"
        )


def _revive_libvirtd(state: LabState) -> bool:
    dead = [host for host in state.host_names if libvirtd_process(state.name, host) is None]
    run_together(start_libvirtd_commands(state, dead))
    return bool(dead)


def _make(name: str, hosts: int, storage: str) -> LabState:
    with held(".slots"):
        taken = {other.slot for lab in lab_names() if (other := load(lab))}
        slot = network.choose_slot(network.networks_in_use(), taken)
        state = LabState(name=name, slot=slot.number, hosts=hosts, storage=storage)
        save(state)
        network.make_bridge(slot)
    _write_files(state)
    with contextlib.ExitStack() as pipes:
        state, waiting = _start_inits(state, pipes)
        for host, starter in waiting:
            _release(host, starter)
        for host, starter in waiting:
            _await_ready(host, starter)
    _start_all_libvirtd(state)
    _check_reach(state)
    state = replace(state, ready=True)
    save(state)
    return state


def _start_inits(
    state: LabState, pipes: contextlib.ExitStack
) -> tuple[LabState, list[tuple[str, "subprocess.Popen[str]"]]]:
    waiting = []
    for host in state.host_names:
        cgroups.make_host(state.name, host)
        # Between the birth of a host and its record an interruption has to wait; a SIGKILL closes the pipe
        # and so ends the host.
        with _undisturbed():
            starter, process = _start_init(state, host, pipes)
            state = state.with_init(host, process)
            save(state)
        waiting.append((host, starter))
        network.plug(state.place, host, process.pid)
    return state, waiting


def _write_files(state: LabState) -> None:
    paths = LabPaths(state.name)
    names = [(state.place.gateway, "coordinator")]
    names += [(state.place.address(host), host) for host in state.host_names]
    for host in state.host_names:
        data = paths.host_data(host)
        for folder in _OWN_FOLDERS:
            (data / folder).mkdir(parents=True, exist_ok=True)
        (data / "var/lib/hpgreedy/pool").mkdir(exist_ok=True)
        for folder in ("libvirt", "hpgreedy", "lock", "openvswitch"):
            (paths.host_run(host) / folder).mkdir(parents=True, exist_ok=True)
        lines = ["127.0.0.1 localhost", "::1 localhost", *(f"{address} {name}" for address, name in names)]
        (data / "etc/hosts").write_text("\n".join(lines) + "\n")
        (data / "etc/hostname").write_text(f"{host}\n")
        # The machine's name servers cannot be reached from here, and waiting for them takes ten seconds.
        (data / "etc/resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        uuid = host_uuid(state.name, host)
        (data / "etc/machine-id").write_text(uuid.replace("-", "") + "\n")
        libvirt_files.write(data, state.place.address(host), uuid)
        libvirt_files.restore(data)
    paths.shared_pool.mkdir(parents=True, exist_ok=True)
    folders = [str(paths.host_data(host) / "etc/pki") for host in state.host_names]
    run([sys.executable, "-P", "-c", _START_IN_PROJECT, _PROJECT, "agent.placeholder", *folders])


def _plan(state: LabState, host: str) -> str:
    paths = LabPaths(state.name)
    data = paths.host_data(host)
    binds = [(str(data / folder), f"/{folder}") for folder in _OWN_FOLDERS]
    binds += [(str(data / "etc" / file), f"/etc/{file}") for file in _OWN_FILES]
    if state.storage == "shared":
        binds.append((str(paths.shared_pool), "/var/lib/hpgreedy/pool"))
    # Last, because the run folder itself lies below /run.
    binds.append((str(paths.host_run(host)), "/run"))
    ip = network.host_side(state.place, host)
    return json.dumps({"lab": state.name, "host": host, "binds": binds, "ip": ip})


def _start_init(
    state: LabState, host: str, pipes: contextlib.ExitStack
) -> tuple["subprocess.Popen[str]", Process]:
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from lab.host_init import main; main()"
    project = str(Path(__file__).resolve().parent.parent)
    starter = subprocess.Popen(
        [sys.executable, "-P", "-c", code, project, _plan(state, host)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
    )
    assert starter.stdin is not None
    assert starter.stdout is not None
    assert starter.stderr is not None
    for pipe in (starter.stdin, starter.stdout, starter.stderr):
        pipes.callback(pipe.close)
    first = starter.stdout.readline().strip()
    starter.wait(timeout=20)
    process = Process.of(int(first)) if first.isdigit() else None
    if process is None:
        raise LabError(f"the first process of {host} did not start: {starter.stderr.read().strip()[-500:]}")
    return starter, process


def _release(host: str, starter: "subprocess.Popen[str]") -> None:
    assert starter.stdin is not None
    try:
        starter.stdin.write("go\n")
        starter.stdin.close()
    except BrokenPipeError as error:
        raise LabError(f"the first process of {host} died before it was set up") from error


def _await_ready(host: str, starter: "subprocess.Popen[str]") -> None:
    assert starter.stdout is not None
    assert starter.stderr is not None
    answer = starter.stdout.readline().strip()
    if answer != "ready":
        raise LabError(f"{host} could not be set up: {answer or starter.stderr.read().strip()[-500:]}")


def _start_all_libvirtd(state: LabState) -> None:
    hosts = state.host_names
    run_together([enter(state, host, _START_VIRTLOCKD) for host in hosts])
    if not libvirt_files.is_primed():
        first, *hosts = hosts
        run_together(start_libvirtd_commands(state, [first]))
        run(enter(state, first, ["virsh", "-c", "qemu:///system", "domcapabilities"]), seconds=60)
        libvirt_files.keep(LabPaths(state.name).host_data(first))
        for host in hosts:
            libvirt_files.restore(LabPaths(state.name).host_data(host))
    run_together(start_libvirtd_commands(state, hosts))


def _check_reach(state: LabState) -> None:
    first, last = state.host_names[0], state.host_names[-1]
    target = (state.place.address(last), libvirt_files.PORT)
    probe = f"import socket; socket.create_connection({target!r}, timeout=5).close()"
    try:
        run(enter(state, first, [sys.executable, "-c", probe]))
    except LabError as error:
        raise LabError(
            f"{first} does not reach {last} at {target[0]}:{target[1]}; the lab was taken away again; "
            "most likely this machine filters bridged packets: allow forwarding between ports of "
            f"{state.place.bridge}, or set net.bridge.bridge-nf-call-iptables to 0 ({error})"
        ) from error


def _clean(name: str, state: LabState | None) -> None:
    paths = LabPaths(name)
    left: list[str] = []
    left += [f"process {process.pid}" for process in programs_record.end_all(paths.programs)]
    if state is not None:
        processes = [process for _, process in state.inits]
        left += [f"process {process.pid}" for process in end(processes, grace=0)]
        left += [f"interface {device}" for device in _remove_network(state)]
    left += [f"cgroup {folder}" for folder in cgroups.remove_lab(name)]
    _unmount_below(paths)
    if left:
        raise LabError(
            f"these parts of lab {name!r} could not be taken away: {', '.join(left)}; its state file "
            f"{paths.state} was kept; look at them, then run `python -m lab down --name {name}` again"
        )
    shutil.rmtree(paths.data, ignore_errors=True)
    # The state goes last: as long as anything is left, `down` must find it.
    if paths.run.is_dir():
        for entry in paths.run.iterdir():
            if entry != paths.state:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        paths.state.unlink(missing_ok=True)
        paths.run.rmdir()
    for parent in (paths.run.parent, paths.data.parent):
        with contextlib.suppress(OSError):
            parent.rmdir()


def _remove_network(state: LabState) -> list[str]:
    deadline = time.monotonic() + 5
    left = network.remove(state.place, host_names(state.hosts))
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = network.remove(state.place, host_names(state.hosts))
    return left


def _unmount_below(paths: LabPaths) -> None:
    targets = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for target in reversed(targets):
        if Path(target).is_relative_to(paths.run) or Path(target).is_relative_to(paths.data):
            run(["umount", "--lazy", target])


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold back Ctrl-C and its like: a cleaning that is cut short helps nobody."""
    numbers = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
