"""The agent: its parts put together and its timers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, TypeVar

import structlog

from agent.actions import Actions
from agent.addresses import own_addresses
from agent.capacity import Machine, offer
from agent.clock import CoordinatorClock
from agent.drivers.simulated.uri import is_simulated
from agent.errors import AgentError
from agent.executor import Executor
from agent.fence import make_fence
from agent.hypervisor import Hypervisor
from agent.journal import Journal, JournalError
from agent.link import Link
from agent.settings import AgentSettings
from protocol.codec import new_id
from protocol.messages import Capacity, Command, DomainEvent, Goodbye, Hello, Message, Report, Usage, Welcome
from protocol.transport.access import PeerAccess
from protocol.transport.dealer import Dealer

if TYPE_CHECKING:
    from agent.encryption import Encryption

_LOG = structlog.get_logger("agent")
VERSION = "0.1.0"
RESEND_SECONDS = 3.0
PRUNE_SECONDS = 3600.0
CERTIFICATE_SECONDS, CERTIFICATE_EVERY = 10.0, 60.0
NOT_ENCRYPTED = {
    "ssh": "the memory of a moving VM travels in the clear (--migration-transport ssh)",
    "tcp": "everything between hosts travels in the clear (--migration-transport tcp)",
}
_SHORTEST_GAP = 0.2
T = TypeVar("T")


class AgentService:
    """Runs one host, on a connected hypervisor. `machine` None = a simulated host.

    `steady` gives seconds that also count while the machine is suspended.
    """

    def __init__(
        self,
        settings: AgentSettings,
        access: PeerAccess,
        hypervisor: Hypervisor,
        journal: Journal,
        *,
        machine: Machine | None,
        steady: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    ) -> None:
        self._settings = settings
        self._name = settings.name or access.name
        self._journal = journal
        self._machine = machine
        self._boot_id = new_id()
        self._host_id = journal.host_id()
        self._seq = 0
        self._sooner = asyncio.Event()
        self._tasks: set[asyncio.Task[object]] = set()
        self._resumed = False
        self._clock = CoordinatorClock()
        self.hypervisor = hypervisor
        hypervisor.on_event = self._domain_event
        dealer = Dealer(settings.coordinator, settings.port, access.server_public, access.keys)
        self._dealer = dealer
        self.link = Link(dealer, self._hello, self, self._clock, steady)
        self._encryption = self._encrypted()
        self._secured = asyncio.Event()
        self._fence = make_fence(
            settings.fence, settings.state / "fence.json", simulated=is_simulated(settings.driver.hypervisor)
        )
        actions = Actions(
            hypervisor.driver,
            self.link.read_from(asyncio.get_running_loop()),
            self._fence,
            lambda: self._clock.now(steady()),
        )
        self.executor = Executor(journal, actions, self.link.send, self._clock, steady=steady)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`. Raises AgentError."""
        last = await self.hypervisor.look()
        arriving = {domain.uuid for domain in (last.domains if last else ()) if domain.state == "incoming"}
        await asyncio.to_thread(self._fence.begin, arriving)
        await self.executor.resume(waiting=False)
        tasks = [
            asyncio.create_task(work)
            for work in (
                self.link.run(),
                self._report(),
                self._repeat(),
                self.hypervisor.run(self.link.say_hello_again),
                stop.wait(),
            )
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except BaseExceptionGroup as group:
            fatal = group.subgroup(AgentError)
            raise (fatal.exceptions[0] if fatal is not None else group) from group
        finally:
            await self._end(tasks)

    async def welcomed(self, welcome: Welcome) -> None:
        """The coordinator takes this host."""
        known = self._journal.highest_epoch()
        if welcome.epoch < known:
            _LOG.warning("the coordinator's epoch is behind; waiting for it to rise", seen=known)
        await _stored(self._journal.raise_epoch, welcome.epoch)
        if not self._resumed:
            self._resumed = True
            await self.executor.resume(waiting=True)
        self._soon(self._secure(welcome.authority))
        self._sooner.set()
        self._soon(self.executor.repeat_results())

    async def commanded(self, command: Command) -> None:
        """The coordinator gives a command."""
        await self.executor.take(command)

    async def acknowledged(self, command: str) -> None:
        """The coordinator has a result."""
        await _stored(self._journal.acknowledge, command)

    def _hello(self) -> Hello:
        facts, last = self.hypervisor.facts, self.hypervisor.last
        assert facts is not None
        return Hello(
            host_id=self._host_id,
            name=self._name,
            boot_id=self._boot_id,
            hypervisor=self._settings.driver.hypervisor,
            hypervisor_uuid=facts.hypervisor_uuid,
            address=self._settings.driver.address,
            addresses=own_addresses(self._settings.driver.address),
            migrate_uri=facts.migrate_uri,
            capacity=self._capacity(),
            accelerator=facts.accelerator,
            pools=last.pools if last else (),
            networks=facts.networks,
            bridges=facts.bridges,
            labels=self._settings.labels,
            cpu_models=facts.cpu_models,
            offer_cpu=self._settings.driver.offer_cpu,
            numa=facts.numa,
            versions=facts.versions,
            guards=self._guards(),
            highest_epoch=self._journal.highest_epoch(),
            agent_version=VERSION,
        )

    def _encrypted(self) -> Encryption | None:
        """What keeps the certificate of a host that is reached over TLS."""
        driver = self._settings.driver
        if is_simulated(driver.hypervisor) or driver.migration_transport != "tls":
            return None
        from agent import pki  # noqa: PLC0415 - simulated hosts do without
        from agent.encryption import Encryption  # noqa: PLC0415

        return Encryption(
            pki.FOLDER, driver.address, lambda message: self.link.ask(message, CERTIFICATE_SECONDS)
        )

    def _guards(self) -> dict[str, str]:
        facts, transport = self.hypervisor.facts, self._settings.driver.migration_transport
        found = dict(facts.guards) if facts is not None else {}
        if found:
            found["fence"] = self._fence.state
        if self._encryption is not None:
            found["encryption"] = self._encryption.state
        elif found:
            found["encryption"] = f"off: {NOT_ENCRYPTED[transport]}"
        return found

    async def _secure(self, authority: str) -> None:
        """See to the certificate; the first report, with which VMs begin to come, waits for that."""
        if self._encryption is not None:
            before = self._encryption.state
            await self._encryption.keep(authority)
            if self._encryption.state != before:
                self.link.say_hello_again()
        self._secured.set()

    def _capacity(self) -> Capacity:
        last = self.hypervisor.last
        nothing = Capacity(cpus=0, memory_mib=0)
        return offer(last.capacity, self._machine, self._settings) if last else nothing

    def _domain_event(self, event: DomainEvent) -> None:
        self._soon(self.link.send(event))
        self._sooner.set()

    async def _report(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.link.interval):
                    await self._sooner.wait()
            self._sooner.clear()
            if self.link.up and self._secured.is_set():
                await self.link.send(await self._make_report())
            await asyncio.sleep(_SHORTEST_GAP)

    async def _make_report(self) -> Message:
        looking = asyncio.ensure_future(self.hypervisor.look())
        await asyncio.wait([looking], timeout=self.link.interval)
        if not looking.done():
            # A slow hypervisor must not make this host look dead: report what was known last.
            self._tasks.add(looking)
            looking.add_done_callback(self._tasks.discard)
        last = self.hypervisor.last
        self._seq += 1
        return Report(
            seq=self._seq,
            at=last.at if last else time.time(),
            capacity=self._capacity(),
            usage=last.usage if last else Usage(),
            hypervisor_up=self.hypervisor.up,
            problem=self.hypervisor.problem[:2000],
            domains=last.domains if last else (),
            pools=last.pools if last else (),
        )

    async def _repeat(self) -> None:
        next_prune = 0.0
        next_look = time.monotonic() + CERTIFICATE_EVERY
        while True:
            await asyncio.sleep(RESEND_SECONDS)
            if self.link.up:
                await self.executor.repeat_results()
            if time.monotonic() >= next_look and self.link.welcome is not None:
                next_look = time.monotonic() + CERTIFICATE_EVERY
                await self._secure(self.link.welcome.authority)
            if time.monotonic() >= next_prune:
                next_prune = time.monotonic() + PRUNE_SECONDS
                await _stored(self._journal.prune, time.time())

    def _soon(self, work: Coroutine[object, object, object]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end(self, tasks: Sequence[asyncio.Task[object]]) -> None:
        with contextlib.suppress(Exception):
            await self.link.send(Goodbye())
        for task in (*tasks, *self._tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.executor.stop()
        await self._dealer.close()
        await asyncio.to_thread(self.hypervisor.driver.close)
        self._journal.close()


async def _stored(write: Callable[[T], None], value: T) -> None:
    """Write to the journal; a full disk costs this entry and not the agent."""
    try:
        await asyncio.to_thread(write, value)
    except JournalError as error:
        _LOG.error("the journal cannot be written", problem=str(error))
