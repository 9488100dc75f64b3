"""A coordinator for agents under test: a real ROUTER that answers as little as an agent needs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from protocol.codec import decode, encode, new_id
from protocol.messages import (
    Command,
    CommandResult,
    Hello,
    ImageData,
    ImageRead,
    Join,
    Joined,
    Message,
    Refused,
    Report,
    ReportAck,
    ResultAck,
    Welcome,
)
from protocol.transport.access import JoinToken, LocalAccess, local_access_path
from protocol.transport.keys import generate_keys
from protocol.transport.router import Received, Router


class FakeCoordinator:
    """`seen` holds (host name, message) in order; `answer` may override what a message gets."""

    def __init__(self, port: int = 0, keys=None, admitted: set[str] | None = None) -> None:
        self.keys = keys or generate_keys()
        self.admitted = admitted if admitted is not None else set()
        self.router = Router("127.0.0.1", port, self.keys, self.admitted.__contains__)
        self.permanent: set[str] = set()
        self.seen: list[tuple[str, Message]] = []
        self.peers: dict[str, bytes] = {}
        self.names: dict[bytes, str] = {}
        self.epoch = 1
        self.interval = 0.3
        self.mute = False
        self.acknowledge = True
        self.content = b""
        self.answer: Callable[[Message], Message | None] = lambda _message: None
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        return self.router.port

    async def start(self) -> FakeCoordinator:
        await self.router.start()
        self._task = asyncio.create_task(self._serve())
        return self

    async def close(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await self.router.close()

    def token(self) -> str:
        keys = generate_keys()
        self.admitted.add(keys.public)
        return JoinToken(server_public=self.keys.public, secret=keys.secret, public=keys.public).encode()

    def leave_local_access(self, root: Path) -> None:
        keys = generate_keys()
        self.admitted.add(keys.public)
        self.permanent.add(keys.public)
        LocalAccess(
            server_public=self.keys.public, keys=keys, port=self.port, address="127.0.0.1", cluster="c"
        ).save(local_access_path(root))

    async def tell(self, host: str, message: Message) -> bool:
        return await self.router.send(self.peers[host], encode(message, id=new_id()))

    async def command(
        self, host: str, number: str, action: str, epoch: int | None = None, **args: Any
    ) -> None:
        now = time.time()
        await self.tell(
            host,
            Command(
                id=number,
                operation="1",
                epoch=self.epoch if epoch is None else epoch,
                sent_at=now,
                deadline=now + 60,
                action=action,
                args=args,
            ),
        )

    def of(self, kind: type, host: str | None = None) -> list[Any]:
        return [m for name, m in self.seen if isinstance(m, kind) and (host is None or name == host)]

    async def until(self, reached: Callable[[], Any], seconds: float = 20) -> Any:
        async with asyncio.timeout(seconds):
            while not (found := reached()):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            return found

    async def result(self, host: str, number: str) -> CommandResult:
        return await self.until(
            lambda: next((r for r in self.of(CommandResult, host) if r.command == number), None)
        )

    async def do(self, host: str, number: str, action: str, **args: Any) -> CommandResult:
        await self.command(host, number, action, **args)
        return await self.result(host, number)

    async def _serve(self) -> None:
        while True:
            got = await self.router.receive()
            incoming = decode(got.frames)
            assert incoming.body is not None
            name = self.names.get(got.peer, "?")
            if isinstance(incoming.body, Hello):
                name = incoming.body.name
                self.peers[name], self.names[got.peer] = got.peer, name
            self.seen.append((name, incoming.body))
            if self.mute:
                continue
            reply = self.answer(incoming.body) or self._reply(got, incoming.body)
            if reply is not None:
                await self.router.send(got.peer, encode(reply, id=new_id(), re=incoming.envelope.id))

    def _reply(self, got: Received, body: Message) -> Message | None:
        match body:
            case Join(name=name, public_key=key):
                if got.user_id not in self.permanent:
                    self.admitted.discard(got.user_id)
                self.admitted.add(key)
                return Joined(name=name, cluster="c")
            case Hello():
                return Welcome(
                    cluster="c",
                    site="local",
                    epoch=self.epoch,
                    now=time.time(),
                    report_interval=self.interval,
                )
            case _ if got.peer not in self.names:
                return Refused(code="hello_first", reason="say hello first")
            case Report():
                return ReportAck(now=time.time())
            case CommandResult(command=number) if self.acknowledge:
                return ResultAck(command=number)
            case ImageRead(offset=offset, length=length):
                return ImageData(data=self.content[offset : offset + length])
        return None
