"""The agent's conversation with the coordinator: hello, signs of life, messages both ways."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

import structlog

from agent.clock import CoordinatorClock
from agent.errors import AgentError
from agent.ports import iter_chunks
from protocol.codec import CodecError, Incoming, decode, encode, new_id
from protocol.commands import CommandError
from protocol.liveness import Liveness
from protocol.messages import (
    CertificateIssued,
    Command,
    Hello,
    ImageData,
    ImageRead,
    Message,
    Refused,
    ReportAck,
    ResultAck,
    Welcome,
)
from protocol.spec import ImageFile
from protocol.transport.dealer import Dealer
from protocol.transport.errors import TransportError

_LOG = structlog.get_logger("link")
FATAL = ("join", "duplicate_hypervisor", "name_taken")
IMAGE_CHUNK = 256 * 1024
HELLO_EVERY = 1.0
CONNECT_ANEW_AFTER = 6.0
SILENT_INTERVALS = 3
_ASK_TRY, _IMAGE_TOTAL = 10.0, 60.0
_TICK = 0.25
_REMEMBERED = 64


class Listener(Protocol):
    """Who acts on what the coordinator says."""

    async def welcomed(self, welcome: Welcome) -> None:
        """Each Welcome, the first and later ones."""

    async def commanded(self, command: Command) -> None:
        """A command."""

    async def acknowledged(self, command: str) -> None:
        """A result has been stored."""


class Link:
    """Keeps saying hello until welcomed, and begins anew when the coordinator falls silent."""

    def __init__(
        self,
        dealer: Dealer,
        hello: Callable[[], Hello],
        listener: Listener,
        clock: CoordinatorClock,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.welcome: Welcome | None = None
        self.interval = 2.0
        self._dealer = dealer
        self._hello = hello
        self._listener = listener
        self._clock = clock
        self._steady = steady
        self._life = Liveness(SILENT_INTERVALS * self.interval)
        self._asked: OrderedDict[str, float] = OrderedDict()
        self._answers: dict[str, asyncio.Future[Message]] = {}
        self._tried_since = 0.0
        self._last_hello = float("-inf")
        self._complained = False

    @property
    def up(self) -> bool:
        """Whether the coordinator has welcomed this agent and is heard."""
        return self.welcome is not None

    async def run(self) -> None:
        """Converse until cancelled. Raises AgentError when the coordinator will never have this agent."""
        await self._dealer.connect()
        self._tried_since = self._steady()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            group.create_task(self._keep_up())

    async def send(self, message: Message, number: str | None = None) -> bool:
        """Send; False while the coordinator has not welcomed this agent or is away."""
        if self.welcome is None and not isinstance(message, Hello):
            return False
        number = number or new_id()
        self._asked[number] = self._steady()
        while len(self._asked) > _REMEMBERED:
            self._asked.popitem(last=False)
        return await self._dealer.send(encode(message, id=number))

    def say_hello_again(self) -> None:
        """Something that the Hello says has changed."""
        self.welcome = None
        self._tried_since = self._steady()
        self._last_hello = float("-inf")

    def read_from(self, loop: asyncio.AbstractEventLoop) -> Callable[[str, ImageFile, int, int], bytes]:
        """A `ReadChunk` for driver threads. Raises CommandError."""

        def read(image: str, file: ImageFile, offset: int, length: int) -> bytes:
            data = b""
            for at, size in iter_chunks(length, IMAGE_CHUNK):
                work = self.read_image(image, file, offset + at, size)
                data += asyncio.run_coroutine_threadsafe(work, loop).result(_IMAGE_TOTAL + 30)
            return data

        return read

    async def ask(self, message: Message, seconds: float) -> Message | None:
        """The coordinator's answer, a Refused included; None when there was none within `seconds`."""
        number = new_id()
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._answers[number] = future
        end = self._steady() + seconds
        try:
            while self._steady() < end:
                sent = await self.send(message, number)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(_ASK_TRY, seconds) if sent else 0.5):
                        return await asyncio.shield(future)
        finally:
            self._answers.pop(number, None)
        return None

    async def read_image(self, image: str, file: ImageFile, offset: int, length: int) -> bytes:
        """A piece of an image's file from the coordinator. Raises CommandError."""
        message = ImageRead(image=image, sha256=file.sha256, offset=offset, length=length)
        answer = await self.ask(message, _IMAGE_TOTAL)
        if answer is not None:
            return _image_data(answer, image)
        raise CommandError(
            "timeout",
            f"image {image}: the coordinator gave no answer within {_IMAGE_TOTAL:g} s; nothing was kept",
        )

    async def _keep_up(self) -> None:
        while True:
            now = self._steady()
            if self.welcome is not None and self._life.state(now) == "silent":
                _LOG.warning("the coordinator is silent; connecting anew", seconds=self._life.timeout)
                await self._connect_anew(now)
            elif self.welcome is None:
                if now - self._tried_since > CONNECT_ANEW_AFTER:
                    if not self._complained:
                        _LOG.warning(
                            "no coordinator answers: is it running, is the address right, is this key known?",
                            coordinator=f"{self._dealer.address}:{self._dealer.port}",
                        )
                        self._complained = True
                    await self._connect_anew(now)
                if now - self._last_hello >= HELLO_EVERY and await self.send(self._hello()):
                    self._last_hello = now
            await asyncio.sleep(_TICK)

    async def _connect_anew(self, now: float) -> None:
        self.welcome = None
        self._tried_since = now
        self._last_hello = float("-inf")
        try:
            await self._dealer.connect()
        except TransportError as error:
            _LOG.warning("cannot connect", problem=str(error))

    async def _listen(self) -> None:
        while True:
            frames = await self._dealer.receive()
            try:
                incoming = decode(frames)
            except CodecError as error:
                _LOG.warning("unreadable message", problem=error.message)
                continue
            self._life.heard(self._steady())
            await self._hear(incoming)

    async def _hear(self, incoming: Incoming) -> None:
        re = incoming.envelope.re or ""
        match incoming.body:
            case Welcome() as welcome:
                await self._welcomed(welcome, re)
            case ReportAck(now=theirs):
                self._clock.heard(theirs, self._steady(), self._asked.get(re))
            case Command() as command:
                await self._listener.commanded(command)
            case ResultAck(command=number):
                await self._listener.acknowledged(number)
            case Refused(code="hello_first") as refused:
                self._refused(refused)
            case (ImageData() | CertificateIssued() | Refused()) as answer if re in self._answers:
                if not self._answers[re].done():
                    self._answers[re].set_result(answer)
            case Refused() as refused:
                self._refused(refused)
            case None:
                _LOG.info("unknown message", type=incoming.envelope.type)
            case other:
                _LOG.warning("unexpected message", type=type(other).__name__)

    async def _welcomed(self, welcome: Welcome, re: str) -> None:
        now = self._steady()
        self._clock.heard(welcome.now, now, self._asked.get(re))
        if self.welcome is None:
            _LOG.info("welcomed", cluster=welcome.cluster, epoch=welcome.epoch)
        self._complained = False
        self.interval = min(60.0, max(0.1, welcome.report_interval))
        self._life = Liveness(SILENT_INTERVALS * self.interval)
        self._life.heard(now)
        self.welcome = welcome
        await self._listener.welcomed(welcome)

    def _refused(self, refused: Refused) -> None:
        _LOG.warning("the coordinator refused a message", code=refused.code, reason=refused.reason)
        if refused.code in FATAL:
            raise AgentError(f"the coordinator does not take this host: {refused.reason}")
        if refused.code == "hello_first" and self.welcome is not None:
            self.say_hello_again()


def _image_data(answer: Message, image: str) -> bytes:
    if isinstance(answer, ImageData):
        return answer.data
    reason = answer.reason if isinstance(answer, Refused) else "another answer than a piece of it"
    raise CommandError("failed", f"image {image} cannot be fetched: {reason}")
