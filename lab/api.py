"""The lab for Python programs: tests, benchmarks and the command line use this and nothing deeper."""

import shlex
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import lifecycle, network, programs_record
from lab.commands import run
from lab.errors import LabError, UsageError
from lab.libvirt_files import PORT
from lab.names import check_host_count, check_lab_name, check_storage, host_uuid
from lab.paths import LabPaths
from lab.processes import Process, end
from lab.state import LabState, load

POOL_PATH = "/var/lib/hpgreedy/pool"


@dataclass(frozen=True)
class LabHost:
    """One host of a running lab."""

    name: str
    address: str
    host_uuid: str
    state: LabState

    @property
    def libvirt_uri(self) -> str:
        """The URI that reaches this host's libvirtd from the root namespace and from every other host."""
        return f"qemu+tcp://{self.address}:{PORT}/system"

    @property
    def run_folder(self) -> Path:
        """What the host sees as /run, by its path outside."""
        return LabPaths(self.state.name).host_run(self.name)

    @property
    def data_folder(self) -> Path:
        """The folder with the host's own etc and var (logs: var/log/libvirt), by its path outside."""
        return LabPaths(self.state.name).host_data(self.name)

    @property
    def pool_folder(self) -> Path:
        """The host's pool folder, by its path outside."""
        if self.state.storage == "shared":
            return LabPaths(self.state.name).shared_pool
        return self.data_folder / POOL_PATH.lstrip("/")

    def enter(self, command: Sequence[str]) -> list[str]:
        """Return the argument list that runs a command inside this host (see lab.enter)."""
        return lifecycle.enter(self.state, self.name, list(command))

    def popen(self, command: Sequence[str], **options: Any) -> "subprocess.Popen[Any]":
        """Start a command inside this host; the options are Popen's."""
        return subprocess.Popen(self.enter(command), **options)

    def run(
        self, command: Sequence[str], *, text: str | None = None, timeout: float = 60, check: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command inside this host and collect its output."""
        done = subprocess.run(
            self.enter(command),
            input=text or "",
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode != 0:
            raise LabError(
                f"`{shlex.join(command)}` failed in {self.name} with exit code {done.returncode}: "
                f"{(done.stderr or done.stdout).strip()}"
            )
        return done

    def virsh(self, *arguments: str, timeout: float = 60, check: bool = True) -> str:
        """Run virsh inside this host and return its output."""
        command = ["virsh", "-q", "-c", "qemu:///system", *arguments]
        return self.run(command, timeout=timeout, check=check).stdout

    def alive(self) -> bool:
        """Tell whether the host itself runs."""
        init = self.state.init_of(self.name)
        return init is not None and init.alive()

    def libvirtd_alive(self) -> bool:
        """Tell whether its libvirtd runs."""
        return lifecycle.libvirtd_process(self.state.name, self.name) is not None


class Lab:
    """A running lab."""

    def __init__(self, state: LabState) -> None:
        self.state = state
        self.name = state.name
        self.storage = state.storage
        self.net = state.place.net
        self.subnet = state.place.subnet
        self.gateway = state.place.gateway
        self.bridge = state.place.bridge
        self.paths = LabPaths(state.name)
        self.hosts = [
            LabHost(host, state.place.address(host), host_uuid(state.name, host), state)
            for host in state.host_names
        ]

    @classmethod
    def up(cls, name: str = "hpg", hosts: int = 3, storage: str = "shared") -> "Lab":
        """Make the lab, or find it running already with the same shape."""
        return cls.up_or_find(name, hosts, storage)[0]

    @classmethod
    def up_or_find(cls, name: str, hosts: int, storage: str) -> tuple["Lab", bool]:
        """Do the same, and tell whether anything had to be made or repaired."""
        check_lab_name(name)
        check_host_count(hosts)
        check_storage(storage)
        state, changed = lifecycle.bring_up(name, hosts, storage)
        return cls(state), changed

    @classmethod
    def load(cls, name: str = "hpg") -> "Lab":
        """Return the lab of that name as its state file describes it."""
        state = load(check_lab_name(name))
        if state is None:
            raise LabError(f"there is no lab {name!r}; make it with `python -m lab up --name {name}`")
        return cls(state)

    @staticmethod
    def remove(name: str) -> bool:
        """Take away whatever there is of the lab of that name; tell whether there was anything."""
        return lifecycle.take_down(check_lab_name(name))

    def down(self) -> None:
        """Take the lab away with everything in it."""
        lifecycle.take_down(self.name)

    def host(self, name: str) -> LabHost:
        """Return the host of that name."""
        for host in self.hosts:
            if host.name == name:
                return host
        known = ", ".join(host.name for host in self.hosts)
        raise UsageError(f"host: {name!r} is not in lab {self.name!r}; its hosts are {known}")

    def kill_libvirtd(self, host: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to a host's libvirtd, SIGKILL by default; nothing starts it again by itself."""
        inside = lifecycle.libvirtd_process(self.name, self.host(host).name)
        if inside is None:
            raise LabError(f"libvirtd of {host} is not running; start it with start-libvirtd")
        self.host(host).run(["kill", f"-{int(number)}", str(inside)])
        deadline = time.monotonic() + 10
        while number in (signal.SIGKILL, signal.SIGTERM) and self.host(host).libvirtd_alive():
            if time.monotonic() > deadline:
                raise LabError(f"libvirtd of {host} is still there 10 s after signal {int(number)}")
            time.sleep(0.01)

    def start_libvirtd(self, host: str) -> None:
        """Start a host's libvirtd; when this returns, it answers."""
        if lifecycle.libvirtd_process(self.name, self.host(host).name) is not None:
            return
        run(lifecycle.start_libvirtd_commands(self.state, [host])[0])

    def cut(self, host: str) -> None:
        """Pull a host's network cable: its guests lose theirs as well."""
        network.set_link(self.state.place, self.host(host).name, up=False)

    def mend(self, host: str) -> None:
        """Plug a host's network cable in again."""
        network.set_link(self.state.place, self.host(host).name, up=True)

    def limit(self, host: str, mbit: float | None) -> None:
        """Limit a host's cable, in each direction, to so many megabits a second; None lifts the limit."""
        if mbit is not None and mbit <= 0:
            raise UsageError(f"mbit: {mbit:g} is no speed; give megabits per second above 0, or none")
        outside = network.limit_command(self.state.place.veth(self.host(host).name), mbit)
        inside = self.host(host).enter(network.limit_command("eth0", mbit))
        for command in (outside, inside):
            try:
                run(command)
            except LabError as error:
                # Lifting a limit that is not there is what was wanted anyway.
                if mbit is None and ("handle of zero" in str(error) or "No such file" in str(error)):
                    continue
                raise

    def programs(self) -> dict[str, list[Process]]:
        """Return the recorded programs of ours that run in this lab."""
        return programs_record.read(self.paths.programs)

    def end_programs(self) -> None:
        """End the recorded programs and drop their records."""
        for name, processes in self.programs().items():
            end(processes, grace=5)
            programs_record.forget(self.paths.programs, name)
