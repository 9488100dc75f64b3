"""The coordinator as a whole: opens the store, takes up what was open, serves both doors."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec
import structlog

from hpgreedy.coordinator.access import Caller, fingerprint, leave_local_access
from hpgreedy.coordinator.agents import AgentDoor
from hpgreedy.coordinator.authority import Authority
from hpgreedy.coordinator.clients import answer
from hpgreedy.coordinator.committer import Committer
from hpgreedy.coordinator.core import Core
from hpgreedy.coordinator.images import ImageFiles
from hpgreedy.operations.context import Refusal
from hpgreedy.operations.ports import Store, StoreError
from hpgreedy.operations.records import Meta
from hpgreedy.operations.world import Settings, World
from hpgreedy.store import open_store
from protocol.codec import MSGPACK, CodecError, Incoming, decode, encode, new_id
from protocol.messages import Join, Joined, Message, Refused, Reply, Request
from protocol.transport.access import local_access_path
from protocol.transport.keys import KeyPair, load_or_create_keys
from protocol.transport.router import Received, Router

_LOG = structlog.get_logger("coordinator")
MAX_TASKS = 1000
TICK = 0.5
COMPACT_EVERY = 3600.0
LOG_KEPT = 7 * 86400.0


class CoordinatorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a coordinator is run: where it listens, where its state root is, what the operator set."""

    listen: str
    port: int
    state_root: Path
    cluster: Settings


class Coordinator:
    """The process: one event loop, one commit thread, two doors on one socket."""

    def __init__(self, settings: CoordinatorSettings) -> None:
        self._settings = settings
        self._folder = settings.state_root / "coordinator"
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """End `run` in good order."""
        self._stop.set()

    async def run(self) -> None:
        """Serve until stopped. Raises StoreError or TransportError with a sentence when it cannot."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        keys = load_or_create_keys(self._folder / "server.key")
        store = await asyncio.to_thread(open_store, self._folder / "state.db", time.time)
        try:
            await self._serve(store, keys)
        finally:
            store.close()

    async def _serve(self, store: Store, keys: KeyPair) -> None:
        epoch = await asyncio.to_thread(store.claim_epoch)
        meta = Meta(cluster=uuid.uuid4().hex)
        world = World.load(store.load(), self._settings.cluster, meta, time.monotonic)
        committer = Committer(store, epoch)
        core = Core(world, committer, ImageFiles(self._folder / "images"), keys.public)
        router = Router(self._settings.listen, self._settings.port, keys, core.keyring.admit)
        await router.start()
        authority = Authority.load_or_create(self._folder, f"cluster {world.meta.cluster[:8]}")
        agents = AgentDoor(core, router, authority)
        access = local_access_path(self._settings.state_root)
        core.change(
            lambda ctx: leave_local_access(
                ctx, access, keys.public, address=self._settings.listen, port=router.port
            )
        )
        core.change(lambda ctx: ctx.put_meta(world.meta))
        core.apply(core.engine.resume(core.now()))
        _LOG.info(
            "coordinator ready", listen=self._settings.listen, port=router.port, epoch=epoch,
            cluster=world.meta.cluster, vms=len(world.vms), hosts=len(world.hosts),
            open_operations=len(world.open),
        )  # fmt: skip
        try:
            await self._until_stopped(core, store, router, agents)
        finally:
            await router.close()

    async def _until_stopped(self, core: Core, store: Store, router: Router, agents: AgentDoor) -> None:
        workers = [
            asyncio.create_task(core.committer.run()),
            asyncio.create_task(self._receive(core, router, agents)),
            asyncio.create_task(self._tick(core, store)),
            asyncio.create_task(self._pulse(core)),
        ]
        stop = asyncio.create_task(self._stop.wait())
        done, _ = await asyncio.wait([*workers, stop], return_when=asyncio.FIRST_COMPLETED)
        if stop in done:
            drained = asyncio.create_task(core.committer.drained())
            # A store that takes no more must not keep the process from ending.
            await asyncio.wait([workers[0], drained], return_when=asyncio.FIRST_COMPLETED)
            drained.cancel()
        for task in (*workers, stop, *self._tasks):
            if not task.done():
                task.cancel()
        await asyncio.gather(*workers, stop, *self._tasks, return_exceptions=True)
        for worker in workers:
            if not worker.cancelled() and worker.exception() is not None:
                raise worker.exception() or RuntimeError
        _LOG.info("coordinator stopped; its VMs go on")

    async def _pulse(self, core: Core) -> None:
        """Beside the tick, which may wait for the disk while messages are read."""
        while True:
            core.engine.awake(core.now())
            await asyncio.sleep(TICK)

    async def _tick(self, core: Core, store: Store) -> None:
        images: set[str] | None = None
        compacted = float("-inf")
        while True:
            core.apply(core.engine.tick(core.now()))
            wanted = {file.sha256 for image in core.world.images.values() for file in image.manifest.files}
            if wanted != images:
                images = wanted
                await asyncio.to_thread(core.files.sweep, frozenset(wanted))
            if time.monotonic() - compacted > COMPACT_EVERY:
                compacted = time.monotonic()
                await self._compact(store)
            await asyncio.sleep(TICK)

    async def _compact(self, store: Store) -> None:
        now = time.time()
        try:
            await asyncio.to_thread(store.compact, now - LOG_KEPT, now)
        except StoreError as error:
            _LOG.warning("the store's log was not compacted", problem=str(error))

    async def _receive(self, core: Core, router: Router, agents: AgentDoor) -> None:
        while True:
            received = await router.receive()
            try:
                await self._one(core, router, agents, received)
            except Exception:
                _LOG.exception("a message could not be handled", key=fingerprint(received.user_id))

    async def _one(self, core: Core, router: Router, agents: AgentDoor, received: Received) -> None:
        try:
            incoming = decode(received.frames)
        except CodecError as error:
            await self._unreadable(core, router, received, error)
            return
        caller = core.keyring.caller(received.user_id)
        if isinstance(incoming.body, Join):
            await self._join(core, router, received, incoming)
        elif caller is None:
            core.refused["key"] += 1
            _LOG.warning("refused a message", key=fingerprint(received.user_id), type=incoming.envelope.type)
        elif incoming.body is None:
            _LOG.info("ignored a message of an unknown type", type=incoming.envelope.type)
        elif isinstance(incoming.body, Request):
            self._spawn(self._request(core, router, received, incoming, caller))
        elif caller.role == "agent":
            await agents.handle(received.peer, caller, incoming.envelope.id, incoming.body)
        else:
            core.refused["role"] += 1
            _LOG.warning("refused a message", caller=caller.name, type=incoming.envelope.type)

    def _spawn(self, job: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _request(
        self, core: Core, router: Router, received: Received, incoming: Incoming, caller: Caller
    ) -> None:
        assert isinstance(incoming.body, Request)
        if len(self._tasks) > MAX_TASKS:
            reply = Reply(ok=False, code="busy", error="too many requests are being answered; try again")
        else:
            reply = await answer(core, caller, incoming.envelope.id, incoming.body)
        await self._reply(router, received, incoming.envelope.id, reply, incoming.codec)

    async def _join(self, core: Core, router: Router, received: Received, incoming: Incoming) -> None:
        assert isinstance(incoming.body, Join)
        join, number, codec = incoming.body, incoming.envelope.id, incoming.codec
        names: list[str] = []

        async def then() -> None:
            joined = Joined(name=names[0], cluster=core.world.meta.cluster)
            await self._reply(router, received, number, joined, codec)

        try:
            core.change(lambda ctx: names.append(core.keyring.join(ctx, received.user_id, join)), then)
        except Refusal as refusal:
            core.refused["join"] += 1
            _LOG.warning("refused to join", key=fingerprint(received.user_id), reason=refusal.message)
            refused = Refused(code=refusal.code, reason=refusal.message)
            await self._reply(router, received, number, refused, codec)
        else:
            _LOG.info("joined", name=names[0], role=join.role, key=fingerprint(join.public_key))

    async def _unreadable(self, core: Core, router: Router, received: Received, error: CodecError) -> None:
        core.refused["unreadable"] += 1
        _LOG.warning("unreadable message", key=fingerprint(received.user_id), problem=error.message)
        number = error.envelope.id if error.envelope is not None else "?"
        codec = received.frames[0] if received.frames and received.frames[0] in (b"m", b"j") else MSGPACK
        if (error.envelope is not None and error.envelope.type == "request") or codec == b"j":
            reply: Message = Reply(ok=False, code="bad_request", error=error.message, field=error.field)
        else:
            reply = Refused(code="unreadable", reason=error.message)
        await self._reply(router, received, number, reply, codec)

    async def _reply(
        self, router: Router, received: Received, number: str, body: Message, codec: bytes
    ) -> None:
        await router.send(received.peer, encode(body, id=new_id(), re=number, codec=codec))
