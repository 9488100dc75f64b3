"""Group commit: whatever waits is made durable together, and only then takes effect outside."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from hpgreedy.operations.ports import Change, Store

_LOG = structlog.get_logger("committer")

Then = Callable[[], Awaitable[None]]


class Committer:
    """Writes batches in a thread, in the order in which they were handed over.

    `epoch` is that of the coordinator; a store error ends `run` with that error, since the world in
    memory is then ahead of the disk: the process stops and begins again from what was stored.
    """

    def __init__(self, store: Store, epoch: int) -> None:
        self.epoch = epoch
        self._store = store
        self._queue: list[tuple[Sequence[Change], Then]] = []
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def queued(self) -> int:
        """Batches that wait for the disk."""
        return len(self._queue)

    def add(self, changes: Sequence[Change], then: Then) -> None:
        """Store `changes` and run `then` afterwards, never before what was added earlier."""
        self._queue.append((changes, then))
        self._idle.clear()
        self._wake.set()

    async def raise_epoch(self, at_least: int) -> None:
        """Claim an epoch above `at_least`: some agent has seen that one already."""
        async with self._writing:
            self.epoch = await asyncio.to_thread(self._store.claim_epoch, at_least)

    async def drained(self) -> None:
        """Return once everything added so far has been stored."""
        await self._idle.wait()

    async def run(self) -> None:
        """Commit until cancelled. Raises StoreError when the store does not take a batch."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            taken, self._queue = self._queue, []
            batch = [change for changes, _ in taken for change in changes]
            if batch:
                async with self._writing:
                    await asyncio.to_thread(self._store.append, self.epoch, batch)
            for _, then in taken:
                try:
                    await then()
                except Exception:
                    _LOG.exception("what should follow a commit failed")
            if not self._queue:
                self._idle.set()
