"""The libvirt driver: its ports and their one connection, put together."""

from __future__ import annotations

import threading
from collections.abc import Callable

from agent.drivers.libvirt import errors, names
from agent.drivers.libvirt.connection import Connection
from agent.drivers.libvirt.disks import Disks
from agent.drivers.libvirt.events import Event, EventSink
from agent.drivers.libvirt.host import Host
from agent.drivers.libvirt.images import LibvirtImages
from agent.drivers.libvirt.meter import LibvirtMeter
from agent.drivers.libvirt.mover import LibvirtMover
from agent.drivers.libvirt.runtime import LibvirtRuntime
from agent.drivers.libvirt.storage import Storage
from agent.ports import DriverSettings, HostFacts, Images, Meter, Mover, Runtime
from protocol.messages import DomainEvent


class LibvirtDriver:
    """A libvirt host. Nothing is opened before `connect`."""

    runtime: Runtime
    mover: Mover
    meter: Meter
    images: Images

    def __init__(self, settings: DriverSettings) -> None:
        sink = EventSink()
        self._link = Connection(settings.hypervisor, sink)
        self._storage = Storage(self._link, settings.pool, settings.pool_path)
        self._host = Host(self._link, self._storage, settings)
        self._on_event: Callable[[DomainEvent], None] | None = None
        disks = Disks(self._link, self._storage)
        meter = LibvirtMeter(self._link, sink)
        self._reconnected = meter.reconnected
        self.meter = meter
        self.images = LibvirtImages(self._link, self._storage)
        self.runtime = LibvirtRuntime(self._link, self._host, disks)
        self.mover = LibvirtMover(
            link=self._link,
            host=self._host,
            disks=disks,
            storage=self._storage,
            sink=sink,
            settings=settings,
        )
        sink.add_receiver(self._forward)

    def connect(self, on_event: Callable[[DomainEvent], None], on_close: Callable[[str], None]) -> HostFacts:
        """Connect or raise CommandError; make the pool. `on_close` is called only after this returned."""
        watch = _CloseWatch(on_close)
        self._on_event = on_event
        self._link.open(watch.lost)
        try:
            with self._link.use("making the folder of console logs"):
                # A libvirtd without virtlogd does not make it.
                names.CONSOLE_FOLDER.mkdir(parents=True, exist_ok=True)
            self._storage.ensure()
            self._reconnected()
            facts = self._host.facts()
        except BaseException:
            self._link.close()
            raise
        reason = watch.arm()
        if reason is not None:
            raise errors.hypervisor_down(self._link.uri, reason)
        return facts

    def close(self) -> None:
        """Let go of the connection; domains go on."""
        self._on_event = None
        self._link.close()

    def alive(self) -> bool:
        """Whether the connection stands."""
        return self._link.alive()

    def _forward(self, event: Event) -> None:
        receiver = self._on_event
        if receiver is not None and isinstance(event, DomainEvent):
            receiver(event)


class _CloseWatch:
    """Passes a loss on once the connection has been handed out; before, it is a failure of `connect`."""

    def __init__(self, on_close: Callable[[str], None]) -> None:
        self._on_close = on_close
        self._lock = threading.Lock()
        self._armed = False
        self._reason: str | None = None

    def lost(self, reason: str) -> None:
        with self._lock:
            self._reason = reason
            armed = self._armed
        if armed:
            self._on_close(reason)

    def arm(self) -> str | None:
        with self._lock:
            self._armed = True
            return self._reason
