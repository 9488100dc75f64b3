"""The end of agents and clients: one DEALER to the coordinator."""

from __future__ import annotations

import asyncio
import os

import structlog
import zmq
import zmq.asyncio

from protocol.codec import JSON, CodecError, Incoming, decode, encode, new_id
from protocol.messages import Message
from protocol.transport.errors import TransportError
from protocol.transport.keys import KeyPair
from protocol.transport.sockets import MAX_MESSAGE, Inbox, endpoint, set_common_options, stop

_LOG = structlog.get_logger("transport")
RECONNECT_MS = 100
RECONNECT_MAX_MS = 2_000
_NOT_SENT_RETRY = 0.05


class Dealer:
    """A connection to the coordinator that heals itself; nothing is queued while it is down."""

    def __init__(self, address: str, port: int, server_public: str, keys: KeyPair) -> None:
        self.address = address
        self.port = port
        self._server_public = server_public
        self._keys = keys
        self._context: zmq.asyncio.Context | None = None
        self._socket: zmq.asyncio.Socket | None = None
        self._task: asyncio.Task[None] | None = None
        self._inbox: Inbox[list[bytes]] = Inbox()

    async def connect(self) -> None:
        """Begin to connect, and go on for as long as it takes. Raises TransportError for a bad address.

        Called again, it drops the connection and begins anew.
        """
        await self._drop()
        if self._context is None:
            self._context = zmq.asyncio.Context()
        socket: zmq.asyncio.Socket = self._context.socket(zmq.DEALER)
        self._socket = socket
        set_common_options(socket)
        socket.setsockopt(zmq.IMMEDIATE, 1)
        socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
        try:
            socket.setsockopt(zmq.CURVE_SERVERKEY, self._server_public.encode())
            socket.setsockopt(zmq.CURVE_PUBLICKEY, self._keys.public.encode())
            socket.setsockopt(zmq.CURVE_SECRETKEY, self._keys.secret.encode())
            socket.connect(endpoint(self.address, self.port))
        except zmq.ZMQError as error:
            await self.close()
            raise TransportError(
                f"{self.address}:{self.port} is no place to connect to: {os.strerror(error.errno or 0)}; "
                "give an IP address or a host name, and a port from 1 to 65535"
            ) from error
        self._task = asyncio.create_task(self._read(socket))

    async def send(self, frames: list[bytes]) -> bool:
        """Hand frames over; False while there is no connection or its queue is full. Never waits."""
        if self._socket is None:
            return False
        try:
            await self._socket.send_multipart(frames, flags=zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno in (zmq.EAGAIN, zmq.EHOSTUNREACH, zmq.ENOTSOCK, zmq.ETERM):
                return False
            raise
        return True

    async def receive(self) -> list[bytes]:
        """The next message's frames; cancelling this loses none."""
        return await self._inbox.get()

    async def close(self) -> None:
        """Close; what was handed over just now still has a moment to leave."""
        await self._drop()
        if self._context is not None:
            await asyncio.to_thread(self._context.term)
            self._context = None

    async def _drop(self) -> None:
        await stop(self._task)
        self._task = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def _read(self, socket: zmq.asyncio.Socket) -> None:
        while True:
            await self._inbox.put(await socket.recv_multipart())


async def request(
    dealer: Dealer,
    message: Message,
    timeout: float = 5.0,  # noqa: ASYNC109 - the retries inside are part of the contract
    codec: bytes = JSON,
    *,
    id: str | None = None,  # noqa: A002
    resend: float = 2.0,
) -> Incoming:
    """Send a message and wait for its answer (whatever its type), at most `timeout` seconds.

    The same id is sent again every `resend` seconds. One request at a time on a dealer; what else comes
    in meanwhile is dropped. Raises TransportError when nothing answers, CodecError for a bad answer.
    """
    number = id or new_id()
    frames = encode(message, id=number, codec=codec)
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    next_send = loop.time()
    sent = False
    while (now := loop.time()) < end:
        if now >= next_send:
            ok = await dealer.send(frames)
            sent = sent or ok
            next_send = now + (resend if ok else _NOT_SENT_RETRY)
        try:
            answer = await asyncio.wait_for(dealer.receive(), max(0.001, min(next_send, end) - loop.time()))
        except TimeoutError:
            continue
        try:
            incoming = decode(answer, MAX_MESSAGE)
        except CodecError as error:
            if error.envelope is not None and error.envelope.re == number:
                raise
            _LOG.warning("dropped an unreadable message", problem=error.message)
            continue
        if incoming.envelope.re == number:
            return incoming
    raise TransportError(await _silence(dealer, timeout, sent))


async def _silence(dealer: Dealer, timeout: float, sent: bool) -> str:  # noqa: ASYNC109
    start = f"no coordinator answered at {dealer.address}:{dealer.port} within {timeout:g} s: "
    if sent:
        return start + "it is connected and silent, so it is busy or hangs; look at its log and try again"
    try:
        async with asyncio.timeout(1.0):
            _, writer = await asyncio.open_connection(dealer.address.strip("[]"), dealer.port)
    except ConnectionRefusedError:
        return start + "nothing listens there; start run_coordinator.py, or give the right address and port"
    except TimeoutError:
        return start + "the address does not answer; check it, the network and the firewall"
    except OSError as error:
        return start + f"{error.strerror or error}; check the address and the port"
    writer.close()
    return start + (
        "something listens there and does not let this key in: it is another coordinator, no coordinator, "
        "or the key or join token is unknown, used up or expired; join again with a new token"
    )
