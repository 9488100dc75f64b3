"""The simulated driver: its parts, its connection and the thread that notices changes."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable

import structlog

from agent.drivers.simulated.host import SimHost
from agent.drivers.simulated.images import SimImages
from agent.drivers.simulated.meter import SimMeter
from agent.drivers.simulated.mover import STORAGE_ID, SimMover
from agent.drivers.simulated.runtime import SimRuntime
from agent.drivers.simulated.uri import offered_models, parse_uri, simulated_nodes
from agent.drivers.simulated.world import World
from agent.ports import DriverSettings, HostFacts, Images, Meter, Mover, Runtime
from agent.terms import Terms
from protocol.commands import CommandError
from protocol.messages import Accelerator, DomainEvent, DomainState

_LOG = structlog.get_logger("simulated")
_WATCH_SECONDS = 0.2
_CLOCK_STEP_NS = 50_000_000
Seen = dict[str, tuple[str, DomainState]]


class SimulatedDriver:
    """Satisfies `agent.ports.Driver`. `clock` gives seconds since the epoch, `sleep` waits."""

    def __init__(
        self,
        settings: DriverSettings,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        options = parse_uri(settings.hypervisor, settings.state)
        world = World(options.world.absolute())
        self._settings = settings
        folder = world.host(_hypervisor_uuid(settings))
        pool = world.root / "pool" if options.shared else folder.path / "pool"
        storage = f"simulated-{world.root}" if options.shared else f"simulated-{folder.uuid}"
        self._images = SimImages(settings.pool, pool, storage)
        terms = Terms(
            pool=settings.pool,
            cpu_models=offered_models(options, settings.offer_cpu),
            numa=simulated_nodes(options),
        )
        self.host = SimHost(world, folder, self._images, options, terms=terms, clock=clock, sleep=sleep)
        self.images: Images = self._images
        self.runtime: Runtime = SimRuntime(self.host)
        self.mover: Mover = SimMover(self.host)
        self.meter: Meter = SimMeter(self.host)
        self._stop: threading.Event | None = None
        self._watcher: threading.Thread | None = None

    def connect(self, on_event: Callable[[DomainEvent], None], on_close: Callable[[str], None]) -> HostFacts:
        """Make this host's folder and begin to watch it."""
        self.close()
        host = self.host
        try:
            host.world.make()
            host.folder.make()
            self._images.make()
            (host.folder.path / STORAGE_ID).write_text(self._images.storage_id)
            (host.folder.path / "pool-path").write_text(str(self._images.folder))
            (host.folder.path / "name").write_text(self._settings.host_name)
        except OSError as error:
            raise CommandError(
                "hypervisor_down", f"the world folder {host.world.root} cannot be used: {error.strerror}"
            ) from error
        host.check()
        host.world.settle(host.clock())
        self._stop = threading.Event()
        self._watcher = threading.Thread(
            target=self._watch, args=(self._stop, self._look(), on_event, on_close), daemon=True
        )
        self._watcher.start()
        return HostFacts(
            hypervisor_uuid=host.folder.uuid,
            accelerator=Accelerator(
                kind="simulated", reason=f"nothing runs: VMs are files in {host.world.root}"
            ),
            networks=("default",),
            bridges=(self._settings.bridge,) if self._settings.bridge else (),
            versions={"simulated": "1"},
            migrate_uri=f"simulated://{host.folder.path}",
            cpu_models=host.terms.cpu_models,
            numa=host.terms.numa,
        )

    def close(self) -> None:
        """Stop watching; domains and migrations go on."""
        if self._stop is not None:
            self._stop.set()
        if self._watcher is not None and self._watcher is not threading.current_thread():
            self._watcher.join(2.0)
        self._stop = self._watcher = None

    def alive(self) -> bool:
        """Whether the connection stands."""
        return self._stop is not None and not self._stop.is_set() and not self.host.folder.down

    def _look(self) -> Seen:
        return {found.uuid: (found.name, found.state) for found in self.host.folder.all()}

    def _watch(
        self,
        stop: threading.Event,
        seen: Seen,
        on_event: Callable[[DomainEvent], None],
        on_close: Callable[[str], None],
    ) -> None:
        folder = self.host.folder
        changed = 0
        while not stop.wait(_WATCH_SECONDS):
            if folder.down:
                stop.set()
                on_close("the simulated hypervisor went away")
                return
            try:
                self.host.world.settle(self.host.clock())
                if folder.changed_at() == changed:
                    continue
                changed = folder.changed_at()
                if time.time_ns() - changed < _CLOCK_STEP_NS:
                    changed = 0  # another change may still get the same time stamp
                now_there = self._look()
            except OSError as error:
                stop.set()
                on_close(f"the world folder cannot be read: {error.strerror}")
                return
            for event in changes(seen, now_there):
                on_event(event)
            seen = now_there


def changes(before: Seen, after: Seen) -> list[DomainEvent]:
    """The events that lead from one look at the domains to the next."""
    events = [
        DomainEvent(uuid=key, name=name, event="undefined", detail="removed or moved", state=None)
        for key, (name, _) in before.items()
        if key not in after
    ]
    for key, (name, state) in after.items():
        old = before.get(key)
        if old is not None and old[1] == state:
            continue
        event = "started" if state == "running" else "stopped" if old is not None else "defined"
        events.append(DomainEvent(uuid=key, name=name, event=event, state=state))
    return events


def _hypervisor_uuid(settings: DriverSettings) -> str:
    path = settings.state / "simulated-host"
    try:
        settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(str(uuid.uuid4()))
        return str(uuid.UUID(path.read_text().strip()))
    except ValueError as error:
        raise CommandError(
            "bad_arguments", f"{path} does not hold a uuid; restore it, or remove it to begin a new host"
        ) from error
    except OSError as error:
        raise CommandError("bad_arguments", f"{path} cannot be used: {error.strerror}") from error
