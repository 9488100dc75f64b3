"""The coordinator's end: one ROUTER that only admitted keys reach."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable

import msgspec
import structlog
import zmq
import zmq.asyncio

from protocol.transport.errors import TransportError
from protocol.transport.keys import KeyPair
from protocol.transport.sockets import Inbox, endpoint, set_common_options, stop
from protocol.transport.zap import Authenticator

_LOG = structlog.get_logger("transport")


class Received(msgspec.Struct, frozen=True):
    """A message: `peer` is the connection it came by, `user_id` the sender's public key as ZAP reports it."""

    peer: bytes
    user_id: str
    frames: list[bytes]


class Router:
    """A CURVE ROUTER on `address`:`port` that admits the public keys (z85) `admit` allows.

    `admit` is called on the event loop, once for each new connection, and must not block.
    """

    def __init__(self, address: str, port: int, keys: KeyPair, admit: Callable[[str], bool]) -> None:
        self.address = address
        self.port = port
        self._keys = keys
        self._admit = admit
        self._context: zmq.asyncio.Context | None = None
        self._socket: zmq.asyncio.Socket | None = None
        self._zap: Authenticator | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._inbox: Inbox[Received] = Inbox()

    @property
    def refused(self) -> int:
        """Connections refused because of their key."""
        return 0 if self._zap is None else self._zap.refused

    async def start(self) -> None:
        """Bind; port 0 takes a free one, then found in `port`. Raises TransportError."""
        context = zmq.asyncio.Context()
        self._context = context
        self._zap = Authenticator(context, self._admit)
        socket: zmq.asyncio.Socket = context.socket(zmq.ROUTER)
        self._socket = socket
        set_common_options(socket)
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._keys.secret.encode())
        socket.setsockopt(zmq.ZAP_DOMAIN, b"hpgreedy")
        try:
            socket.bind(endpoint(self.address, self.port))
        except zmq.ZMQError as error:
            await self.close()
            raise TransportError(_bind_problem(self.address, self.port, error.errno)) from error
        self.port = int(socket.getsockopt_string(zmq.LAST_ENDPOINT).rsplit(":", 1)[1])
        self._tasks = [asyncio.create_task(self._zap.run()), asyncio.create_task(self._read())]

    async def receive(self) -> Received:
        """The next message; cancelling this loses none."""
        return await self._inbox.get()

    async def send(self, peer: bytes, frames: list[bytes]) -> bool:
        """Hand frames to a peer; False when it is gone or its queue is full. Never waits for the peer."""
        if self._socket is None:
            return False
        try:
            await self._socket.send_multipart([peer, *frames], flags=zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno in (zmq.EHOSTUNREACH, zmq.EAGAIN, zmq.ENOTSOCK, zmq.ETERM):
                return False
            raise
        return True

    async def close(self) -> None:
        """Let go of the port and of all connections."""
        for task in self._tasks:
            await stop(task)
        self._tasks = []
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._zap is not None:
            self._zap.close()
        if self._context is not None:
            # term() waits for the linger time, so it must not run on the event loop.
            await asyncio.to_thread(self._context.term)
            self._context = None

    async def _read(self) -> None:
        assert self._socket is not None
        while True:
            parts = await self._socket.recv_multipart(copy=False)
            if len(parts) < 2:
                continue
            try:
                user = str(parts[-1].get("User-Id"))
            except zmq.ZMQError:
                _LOG.warning("dropped a message without a key")
                continue
            await self._inbox.put(Received(parts[0].bytes, user, [part.bytes for part in parts[1:]]))


def _bind_problem(address: str, port: int, code: int | None) -> str:
    where = f"{address}:{port}"
    if code == errno.EADDRINUSE:
        return (
            f"port {port} on {address} is in use; stop the program that listens there or choose another port"
        )
    if code in (errno.EADDRNOTAVAIL, errno.ENODEV):
        return f"{where} cannot be listened on: this machine has no address {address}; see ip address"
    if code == errno.EACCES:
        return f"{where} cannot be listened on without more rights; choose a port above 1023"
    return f"{where} cannot be listened on: {os.strerror(code or 0)}"
