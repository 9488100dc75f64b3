"""The agents' door: sessions of hosts, their reports and results, commands to them."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import msgspec
import structlog

from hpgreedy.coordinator.access import Caller
from hpgreedy.coordinator.authority import Authority
from hpgreedy.coordinator.core import Core
from hpgreedy.operations.context import Refusal, Tell
from hpgreedy.operations.records import HostRecord, Waiting
from protocol.codec import encode, new_id
from protocol.commands import Args
from protocol.messages import (
    CertificateRequest,
    Command,
    CommandAccepted,
    CommandProgress,
    CommandResult,
    DomainEvent,
    Goodbye,
    Hello,
    ImageData,
    ImageRead,
    Message,
    MigrationProgress,
    Refused,
    Report,
    ReportAck,
    ResultAck,
    Welcome,
)
from protocol.spec import SpecError, decode_spec, encode_spec
from protocol.spec.fields import NAME_RULE, is_name
from protocol.transport.router import Router

_LOG = structlog.get_logger("agents")
QUERY = "query"
REPORT_INTERVAL = 2.0


class AgentDoor:
    """Hosts by connection. A host is its key; the connection it last said hello on is where it is."""

    def __init__(self, core: Core, router: Router, authority: Authority) -> None:
        self._core = core
        self._router = router
        self._authority = authority
        self._peer_of: dict[str, bytes] = {}
        self._host_of: dict[str, str] = {}
        self._queries: dict[str, asyncio.Future[CommandResult]] = {}
        core.send_tell = self.send
        core.ask_host = self.ask

    async def handle(self, peer: bytes, caller: Caller, message_id: str, body: Message) -> None:
        """A message under an agent's key."""
        if isinstance(body, Hello):
            await self._hello(peer, caller, message_id, body)
            return
        name = self._host_of.get(caller.public_key)
        if name is None or self._peer_of.get(name) != peer:
            refused = Refused(code="hello_first", reason="this connection has not said hello yet")
            await self._reply(peer, message_id, refused)
            return
        await self._known(peer, name, message_id, body)

    async def send(self, tell: Tell) -> None:
        """Send a command to its host; one that cannot be sent now is sent again later."""
        await self._command(tell.host, tell.waiting, str(tell.operation))

    async def ask(self, host: str, args: Args, timeout: float) -> dict[str, Any]:  # noqa: ASYNC109
        """Ask a host something that changes nothing. Raises Refusal when it does not answer."""
        number = f"{QUERY}.{uuid.uuid4().hex}"
        item = Waiting(id=number, host=host, action=args.action, args=encode_spec(args), ttl=timeout)
        future: asyncio.Future[CommandResult] = asyncio.get_running_loop().create_future()
        self._queries[number] = future
        try:
            if not await self._command(host, item, QUERY):
                raise Refusal("unavailable", f"{host} is not connected; try again once it is back")
            result = await asyncio.wait_for(future, timeout)
        except TimeoutError as error:
            raise Refusal("unavailable", f"{host} did not answer within {timeout:g} s") from error
        finally:
            self._queries.pop(number, None)
        if not result.ok:
            raise Refusal("failed", f"{host}: {result.error}")
        return result.data

    async def _command(self, host: str, item: Waiting, operation: str) -> bool:
        peer = self._peer_of.get(host)
        if peer is None:
            return False
        at = self._core.now().wall
        command = Command(
            id=item.id,
            operation=operation,
            epoch=self._core.committer.epoch,
            sent_at=at,
            deadline=at + item.ttl,
            action=item.action,
            args=item.args,
        )
        _LOG.info("command", host=host, command=item.id, action=item.action, operation=operation)
        return await self._router.send(peer, encode(command, id=new_id()))

    async def _hello(self, peer: bytes, caller: Caller, message_id: str, hello: Hello) -> None:
        core = self._core
        problem = self._problem(caller, hello)
        if problem is not None:
            core.refused[problem.code] += 1
            _LOG.warning("host refused", name=hello.name, code=problem.code, reason=problem.reason)
            await self._reply(peer, message_id, problem)
            return
        if hello.highest_epoch > core.committer.epoch:
            await core.committer.raise_epoch(hello.highest_epoch)
        for name in [n for n, record in core.world.hosts.items() if record.public_key == caller.public_key]:
            if name != hello.name:
                self._peer_of.pop(name, None)
        self._peer_of[hello.name] = peer
        self._host_of[caller.public_key] = hello.name
        _LOG.info("host connected", host=hello.name, address=hello.address, hypervisor=hello.hypervisor)
        meta = core.world.meta

        async def welcome() -> None:
            answer = Welcome(
                cluster=meta.cluster,
                site=meta.site,
                epoch=core.committer.epoch,
                now=core.now().wall,
                report_interval=REPORT_INTERVAL,
                authority=self._authority.fingerprint,
            )
            await self._reply(peer, message_id, answer)

        outcome = core.engine.host_hello(core.now(), caller.public_key, hello)
        # The welcome goes first: it carries the epoch that the commands after it have.
        core.committer.add((), welcome)
        core.apply(outcome)

    def _problem(self, caller: Caller, hello: Hello) -> Refused | None:
        """Why this host may not come in under this name and hypervisor."""
        world = self._core.world
        if not is_name(hello.name):
            return Refused(code="join", reason=f"host name is {hello.name[:80]!r}; it must be {NAME_RULE}")
        for name, record in world.hosts.items():
            if record.public_key == caller.public_key:
                if name != hello.name:
                    return Refused(
                        code="name_taken",
                        reason=f"this key belongs to host {name}; start the agent with --name {name}",
                    )
                continue
            same_hypervisor = record.hello.hypervisor_uuid == hello.hypervisor_uuid
            if same_hypervisor and name == hello.name and not self._alive(record):
                continue
            if same_hypervisor:
                return Refused(
                    code="duplicate_hypervisor",
                    reason=f"the libvirt with the host uuid {hello.hypervisor_uuid} is in the cluster "
                    f"already as host {name}; one agent serves one libvirt",
                )
            if name == hello.name:
                return Refused(
                    code="name_taken",
                    reason=f"another host is called {name}; choose another name with --name",
                )
        return None

    def _alive(self, record: HostRecord) -> bool:
        world = self._core.world
        left = world.live_of(record.name).left
        return not left and world.heard_lately(record.name, self._core.now())

    async def _known(self, peer: bytes, name: str, message_id: str, body: Message) -> None:
        core, engine = self._core, self._core.engine
        match body:
            case Report():
                core.apply(engine.host_report(core.now(), name, body))
                await self._reply(peer, message_id, ReportAck(now=core.now().wall))
            case DomainEvent():
                _LOG.info("domain event", host=name, vm=body.name, event_name=body.event, detail=body.detail)
                core.apply(engine.domain_event(core.now(), name, body))
            case CommandAccepted():
                engine.command_accepted(body.command)
            case CommandProgress():
                self._progress(body)
            case CommandResult():
                await self._result(peer, name, message_id, body)
            case ImageRead():
                await self._image(peer, message_id, body)
            case CertificateRequest():
                await self._certificate(peer, name, message_id, body)
            case Goodbye():
                core.apply(engine.host_left(core.now(), name))
            case _:
                _LOG.warning("unexpected message", host=name, type=type(body).__name__)

    async def _result(self, peer: bytes, name: str, message_id: str, result: CommandResult) -> None:
        acknowledge = encode(ResultAck(command=result.command), id=new_id(), re=message_id)
        future = self._queries.get(result.command)
        if result.command.startswith(QUERY + "."):
            if future is not None and not future.done():
                future.set_result(result)
            await self._router.send(peer, acknowledge)
            return
        _LOG.info("result", host=name, command=result.command, ok=result.ok, error=result.error)

        async def then() -> None:
            await self._router.send(peer, acknowledge)

        self._core.apply(self._core.engine.command_result(self._core.now(), name, result), then)

    def _progress(self, body: CommandProgress) -> None:
        try:
            progress = decode_spec(body.data, MigrationProgress, "progress")
        except SpecError as error:
            _LOG.warning("unreadable progress", command=body.command, problem=str(error))
            return
        self._core.engine.command_progress(body.command, progress)

    async def _certificate(self, peer: bytes, name: str, message_id: str, asked: CertificateRequest) -> None:
        core = self._core
        answer = self._authority.answer(core.world, core.world.hosts[name], asked)
        if isinstance(answer, Refused):
            core.refused[answer.code] += 1
            _LOG.warning("certificate refused", host=name, reason=answer.reason)
        await self._reply(peer, message_id, answer)

    async def _image(self, peer: bytes, message_id: str, wanted: ImageRead) -> None:
        record = self._core.world.images.get(wanted.image)
        known = record is not None and any(file.sha256 == wanted.sha256 for file in record.manifest.files)
        try:
            if not known:
                raise FileNotFoundError(wanted.sha256)
            if wanted.offset < 0 or wanted.length < 1:
                raise ValueError(wanted.offset)
            data = await asyncio.to_thread(self._core.files.read, wanted.sha256, wanted.offset, wanted.length)
        except (OSError, ValueError):
            reason = f"the coordinator has no such piece of image {wanted.image}"
            await self._reply(peer, message_id, Refused(code="not_found", reason=reason))
            return
        await self._reply(peer, message_id, ImageData(data=data))

    async def _reply(self, peer: bytes, message_id: str, body: msgspec.Struct) -> None:
        assert isinstance(body, Message)
        await self._router.send(peer, encode(body, id=new_id(), re=message_id))
