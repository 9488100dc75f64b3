"""The driver under supervision: connected again when it is lost, asked only in threads, never for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec
import structlog

from agent.ports import Driver, HostFacts
from agent.threads import in_thread
from protocol.commands import CommandError
from protocol.messages import Capacity, DomainEvent, DomainReport, PoolFacts, Usage

_LOG = structlog.get_logger("hypervisor")
CONNECT_SECONDS = 60.0
LOOK_SECONDS = 10.0
FIRST_RETRY, LONGEST_RETRY = 1.0, 15.0


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One look at the host; `at` in seconds since the epoch, from before the look."""

    at: float
    capacity: Capacity
    usage: Usage
    domains: tuple[DomainReport, ...]
    pools: tuple[PoolFacts, ...]


class Hypervisor:
    """`on_event` (to be set) is called on the event loop for each change of a domain."""

    def __init__(self, driver: Driver, wall: Callable[[], float] = time.time) -> None:
        self.facts: HostFacts | None = None
        self.last: Snapshot | None = None
        self.problem = "the hypervisor has not answered yet"
        self.driver = driver
        self.on_event: Callable[[DomainEvent], None] = lambda _event: None
        self._wall = wall
        self._up = False
        self._lost = asyncio.Event()
        self._lost.set()
        self._look: asyncio.Future[Snapshot] | None = None

    @property
    def up(self) -> bool:
        """Whether the driver is connected and answers."""
        return self._up and not self.problem

    async def connect(self) -> None:
        """Connect once. Raises CommandError."""
        loop = asyncio.get_running_loop()

        def event(found: DomainEvent) -> None:
            _call(loop, lambda: self.on_event(found))

        def closed(reason: str) -> None:
            _call(loop, lambda: self.lost(reason))

        call = in_thread(lambda: self.driver.connect(event, closed), "driver-connect")
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                self.facts = await asyncio.shield(call)
        except TimeoutError as error:
            call.add_done_callback(lambda done: done.cancelled() or done.exception())
            raise CommandError(
                "hypervisor_down", f"the hypervisor did not answer within {CONNECT_SECONDS:g} s"
            ) from error
        self._up = True
        self._look = None
        self.problem = ""
        self._lost.clear()

    def lost(self, reason: str) -> None:
        """The connection is gone; `run` makes a new one."""
        if self._up:
            _LOG.warning("the hypervisor is lost", reason=reason)
        self._up = False
        self.problem = reason
        self._lost.set()

    async def run(self, on_back: Callable[[], None]) -> None:
        """Connect again whenever the connection is lost; `on_back` is called after each time."""
        wait = FIRST_RETRY
        while True:
            await self._lost.wait()
            try:
                await self.connect()
            except CommandError as error:
                self.problem = error.message
                _LOG.warning("the hypervisor is away", problem=error.message, next_try_seconds=wait)
                await asyncio.sleep(wait)
                wait = min(wait * 2, LONGEST_RETRY)
                continue
            wait = FIRST_RETRY
            _LOG.info("the hypervisor is back")
            on_back()

    async def look(self) -> Snapshot | None:
        """A fresh snapshot, or the last one when the driver cannot be asked (then `problem` says why)."""
        if not self._up:
            return self.last
        if self._look is None:
            self._look = in_thread(self._take, "driver-look")
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                self.last = await asyncio.shield(self._look)
            self.problem = ""
            self._look = None
        except TimeoutError:
            self.problem = f"the hypervisor has not answered for more than {LOOK_SECONDS:g} s"
        except CommandError as error:
            self._look = None
            self.problem = error.message
            if not await in_thread(self.driver.alive, "driver-alive"):
                self.lost(error.message)
        except Exception as error:
            self._look = None
            self.problem = f"the driver failed: {error!r}"
            _LOG.exception("the driver failed in an unforeseen way")
        return self.last

    def _take(self) -> Snapshot:
        driver = self.driver
        at = self._wall()
        return Snapshot(
            at=at,
            domains=driver.meter.domains(),
            capacity=driver.meter.capacity(),
            usage=driver.meter.usage(),
            pools=driver.images.pools(),
        )


def _call(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(call)
