"""What both ends share: addresses, heartbeats, and a receive that may be cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from typing import Generic, TypeVar

import zmq
import zmq.asyncio

T = TypeVar("T")
MAX_MESSAGE = 8 * 1024 * 1024
HEARTBEAT_MS = 5_000
HEARTBEAT_TIMEOUT_MS = 15_000
HANDSHAKE_MS = 10_000
HIGH_WATER = 1_000
LINGER_MS = 200
INBOX = 1_000


def endpoint(address: str, port: int) -> str:
    """The ZeroMQ endpoint of an address (a name, IPv4 or IPv6) and port; port 0 = any free one."""
    bare = address.strip("[]")
    try:
        host = f"[{bare}]" if ipaddress.ip_address(bare.split("%")[0]).version == 6 else bare
    except ValueError:
        host = bare
    return f"tcp://{host}:{port or '*'}"


def set_common_options(socket: zmq.asyncio.Socket) -> None:
    """Limits, heartbeats and time-outs of every socket of ours."""
    socket.setsockopt(zmq.IPV6, 1)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE)
    socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TTL, HEARTBEAT_TIMEOUT_MS)
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
    socket.setsockopt(zmq.SNDHWM, HIGH_WATER)
    socket.setsockopt(zmq.RCVHWM, HIGH_WATER)
    socket.setsockopt(zmq.LINGER, LINGER_MS)


class Inbox(Generic[T]):
    """A bounded queue between the one task that reads a socket and whoever waits.

    A cancelled recv of ZeroMQ can lose a message; a cancelled `get` of this queue cannot.
    """

    def __init__(self) -> None:
        self._queue: asyncio.Queue[T] = asyncio.Queue(INBOX)

    async def put(self, item: T) -> None:
        """Wait for room: a full inbox makes ZeroMQ, and then TCP, hold the sender back."""
        await self._queue.put(item)

    async def get(self) -> T:
        """The next item; may be cancelled or timed out without losing any."""
        return await self._queue.get()


async def stop(task: asyncio.Task[None] | None) -> None:
    """Cancel a background task and wait until it is gone."""
    if task is None:
        return
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
