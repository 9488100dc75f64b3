"""Answers of a short while: a request that comes again gets the answer that it got, or is about to get."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import msgspec

from protocol.messages import Reply

KEPT_SECONDS = 60.0
KEPT_NUMBER = 1000


class _Given(msgspec.Struct, frozen=True):
    at: float
    reply: Reply


class Answers:
    """Answers by the key of their request. Those of clients that repeat themselves because the first answer
    was long in coming must not be worked out, and refused or accepted, anew.
    """

    def __init__(self) -> None:
        self._given: OrderedDict[str, _Given] = OrderedDict()
        self._in_hand: dict[str, asyncio.Future[Reply]] = {}

    async def once(
        self, key: str, clock: Callable[[], float], keep: bool, work: Callable[[], Awaitable[Reply]]
    ) -> Reply:
        """What `work` answers; it is run once for all that ask by the same key while it is in hand and, with
        `keep`, for a minute after. clock: monotonic seconds.
        """
        self._forget(clock())
        given = self._given.get(key)
        if given is not None:
            return given.reply
        if key in self._in_hand:
            return await asyncio.shield(self._in_hand[key])
        ready = self._in_hand[key] = asyncio.get_running_loop().create_future()
        try:
            reply = await work()
            ready.set_result(reply)
            if keep:
                self._given[key] = _Given(clock(), reply)
            return reply
        finally:
            ready.cancel()
            del self._in_hand[key]

    def _forget(self, now: float) -> None:
        while self._given:
            oldest = next(iter(self._given.values()))
            if now - oldest.at <= KEPT_SECONDS and len(self._given) <= KEPT_NUMBER:
                return
            self._given.popitem(last=False)
