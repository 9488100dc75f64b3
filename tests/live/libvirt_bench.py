"""Two hosts of a lab with a libvirt driver in each, and the test guest's image."""

from __future__ import annotations

import hashlib
import json
import queue
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from agent.ports import DriverSettings, HostFacts
from lab import guest as lab_guest
from lab.api import Lab
from lab.names import guest_ip
from protocol.commands import CommandError, Migrate, Stamp, VmPlan
from protocol.messages import DomainEvent, MigrationProgress
from protocol.spec import ImageFile, ImageManifest, KernelBoot, Memory, VmSpec
from tests.live.remote_driver import Remote

POOL = Path("/var/lib/hpgreedy/pool")
FRESH_POOL = Path("/var/lib/hpgreedy/not/there/yet")


def until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """Wait for a condition; the time-out only keeps a broken run from hanging."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"not seen in {seconds:g} s: {what}")


class Host:
    """The driver of one host, with what it has told."""

    def __init__(self, remote: Remote) -> None:
        self.remote = remote
        self.events: list[DomainEvent] = []
        self.closed: queue.Queue[str] = queue.Queue()
        self.progress: list[MigrationProgress] = []
        self.call = remote.call

    def connect(self) -> HostFacts:
        return self.call("connect", self.events.append, self.closed.put)

    def begin_migration(self, order: Migrate) -> Callable[[], Any]:
        return self.remote.begin("mover.migrate", order, self.progress.append)

    def migrate(self, order: Migrate) -> Any:
        return self.begin_migration(order)()

    def refusal(self, path: str, *args: Any) -> CommandError:
        try:
            value = self.call(path, *args)
        except CommandError as error:
            return error
        raise AssertionError(f"{path} was not refused but gave {value!r}")

    def report(self, vm: str) -> Any:
        return next((r for r in self.call("meter.domains") if r.uuid == vm), None)


class Bench:
    """A lab, its drivers and the test guest's image."""

    def __init__(self, lab: Lab, state: Path, pool: Path) -> None:
        self.lab = lab
        self.pool = pool
        self.state = state
        built = lab_guest.build()
        self.files: dict[str, str] = {}
        self.image = ImageManifest(
            name="test-guest",
            files=(
                self._file("disk", built.disk, "qcow2"),
                self._file("kernel", built.kernel),
                self._file("initrd", built.initrd),
            ),
            cmdline=built.cmdline,
            virtual_size=Memory(16),
        )
        self.hosts = {host.name: host for host in lab.hosts}
        self.drivers: dict[str, Host] = {}
        self.facts: dict[str, Any] = {}
        for name in self.hosts:
            self.new_driver(name)

    def new_driver(self, name: str) -> Host:
        driver = self.drivers[name] = self.unconnected(name)
        self.facts[name] = driver.connect()
        return driver

    def unconnected(self, name: str, **settings: Any) -> Host:
        """A further driver on a host, with settings of its own."""
        host = self.hosts[name]
        common = DriverSettings(
            hypervisor="qemu:///system",
            address=host.address,
            state=self.state,
            pool_path=self.pool,
            migration_transport="tcp",
            bridge="br0",
            probe_kernel=lab_guest.build().kernel,
        )
        return Host(Remote(host, msgspec.structs.replace(common, **settings)))

    def folder(self, host: str) -> Path:
        if self.lab.storage == "shared":
            return self.hosts[host].pool_folder
        return self.hosts[host].data_folder / str(self.pool).lstrip("/")

    def _file(self, role: Any, path: Path, form: Any = "raw") -> ImageFile:
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        self.files[digest] = str(path)
        return ImageFile(role=role, size=len(content), sha256=digest, format=form)

    def read(self, _image: str, file: ImageFile, offset: int, length: int) -> bytes:
        with Path(self.files[file.sha256]).open("rb") as content:
            content.seek(offset)
            return content.read(length)

    def plan(self, name: str, number: int, **more: Any) -> VmPlan:
        memory = Memory(112)
        spec = VmSpec(
            id=name,
            cpu=1,
            memory=memory,
            image="test-guest",
            kernel=KernelBoot(cmdline=f"hpg.net={self.lab.net}"),
            **more,
        )
        return VmPlan(
            spec=spec,
            uuid=str(uuid.uuid4()),
            macs=(f"52:54:00:00:07:{number:02x}",),
            max_cpu=1,
            max_memory_mib=memory.mib,
            stamp=Stamp(operation="17", owner="eva", cluster="test"),
            image=self.image,
            kernel_image=self.image,
        )

    def boot(self, plan: VmPlan, host: str = "h1") -> dict[str, Any]:
        driver = self.drivers[host]
        driver.call("images.ensure", self.image, self.read)
        driver.call("runtime.provision", plan)
        driver.call("runtime.start", plan.uuid)
        return until(lambda: self.ask(plan), f"{plan.spec.key} answers")

    def ask(self, plan: VmPlan, path: str = "count") -> Any:
        address = guest_ip(plan.macs[0], self.lab.net)
        try:
            with urllib.request.urlopen(f"http://{address}/{path}", timeout=5) as answer:
                return json.load(answer)
        except OSError:
            return None

    def order(self, plan: VmPlan, to: str, copy: bool, bandwidth: int = 0) -> Migrate:
        return Migrate(
            uuid=plan.uuid,
            target_uri=self.facts[to].migrate_uri,
            target_address=self.hosts[to].address,
            copy=copy,
            bandwidth_mib=bandwidth,
        )

    def files_of(self, host: str, plan: VmPlan) -> list[str]:
        return sorted(path.name for path in self.folder(host).glob(f"*{plan.uuid}*"))

    def end(self) -> None:
        for driver in self.drivers.values():
            driver.remote.end()
        self.lab.down()


def bench_of(name: str, storage: str, state: Path, pool: Path) -> Iterator[Bench]:
    lab = Lab.up(name, hosts=2, storage=storage)
    try:
        made = Bench(lab, state, pool)
    except BaseException:
        lab.down()
        raise
    try:
        yield made
    finally:
        made.end()
