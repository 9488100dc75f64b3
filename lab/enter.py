"""Run one command inside a host, in all its namespaces and its cgroup.

A plain nsenter cannot do this well: entering a PID namespace needs a fork, and the process that stays outside
then hides the command from signals. Here it passes on every signal it gets, ends the way the command ended,
and when it is killed with SIGKILL the kernel kills the command. (Grandchildren that the command left behind
are not touched; SIGSTOP cannot be passed on.)
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from lab import cgroups, linux
from lab.processes import Process

_KINDS = ("cgroup", "ipc", "uts", "net", "mnt")
_PASSED_ON = {
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
    signal.SIGCONT,
}
_FROM_TERMINAL = 0x80  # SI_KERNEL: the terminal has sent it to the command as well


def command_line(lab: str, host: str, init: Process, command: Sequence[str]) -> list[str]:
    """Return the argument list that runs a command inside a host; it needs no environment of its own."""
    start = "import sys; sys.path.insert(0, sys.argv.pop(1)); from lab.enter import main; main()"
    project = str(Path(__file__).resolve().parent.parent)
    whom = f"{lab}/{host}/{init.pid}/{init.start}"
    return [sys.executable, "-P", "-c", start, project, whom, "--", *command]


def main() -> None:
    """Run the command of the arguments (WHOM -- COMMAND…)."""
    lab, host, pid, start = sys.argv[1].split("/")
    command = sys.argv[3:]
    init = Process.of(int(pid))
    if init is None or init.start != int(start):
        sys.exit(f"host {host} of lab {lab} is not running; look with `python -m lab status --name {lab}`")
    namespaces = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in _KINDS]
    groups = cgroups.leaf_descriptors(lab, host)
    linux.setns(os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC))
    watched = _PASSED_ON | {signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    parent_lives, ours = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        _become(command, namespaces, groups, parent_lives)
    os.close(parent_lives)
    _follow(child, watched)


def _become(command: list[str], namespaces: list[int], groups: list[int], parent_lives: int) -> None:
    try:
        folder = Path.cwd()
        for group in groups:
            os.write(group, b"0")
        for namespace in namespaces:
            linux.setns(namespace)
        os.chdir(folder if folder.is_dir() else "/")
        linux.die_with_parent(signal.SIGKILL)
        os.set_blocking(parent_lives, False)
        try:
            os.read(parent_lives, 1)
            os._exit(1)  # the end of the pipe: the parent died before the kernel knew that we care
        except BlockingIOError:
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
    except FileNotFoundError:
        os.write(2, f"{command[0]}: no such command in this host\n".encode())
        os._exit(127)
    except OSError as error:
        os.write(2, f"{command[0]} cannot be run in this host: {error}\n".encode())
        os._exit(126)


def _follow(child: int, watched: set[signal.Signals]) -> None:
    while True:
        info = signal.sigwaitinfo(watched)
        if info.si_signo != signal.SIGCHLD:
            if info.si_code != _FROM_TERMINAL:
                os.kill(child, info.si_signo)
            continue
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            _end_like(status)


def _end_like(status: int) -> None:
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        os._exit(code)
    signal.signal(-code, signal.SIG_DFL) if -code not in (signal.SIGKILL, signal.SIGSTOP) else None
    signal.pthread_sigmask(signal.SIG_SETMASK, set())
    os.kill(os.getpid(), -code)
    os._exit(128 - code)
