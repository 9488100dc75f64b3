"""Group commit."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import pytest

from hpgreedy.coordinator.committer import Committer
from hpgreedy.operations.ports import Change, StaleEpoch
from hpgreedy.store import MemoryStore


class Watched(MemoryStore):
    def __init__(self) -> None:
        super().__init__(clock=lambda: 0.0)
        self.batches: list[int] = []

    def append(self, epoch: int, batch: Sequence[Change]) -> None:
        self.batches.append(len(batch))
        super().append(epoch, batch)


def change(key: str) -> Change:
    return Change(kind="vm", key=key, value={"n": key})


async def test_what_waits_is_committed_together_and_answered_in_order() -> None:
    store, said = Watched(), []
    committer = Committer(store, store.claim_epoch())
    for n in range(50):

        async def then(n: int = n) -> None:
            assert str(n) in store.load()["vm"], "nothing is said before it is stored"
            said.append(n)

        committer.add([change(str(n))], then)
    task = asyncio.create_task(committer.run())
    await asyncio.wait_for(committer.drained(), 5)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert said == list(range(50))
    assert store.batches == [50]


async def test_a_newer_coordinator_ends_this_one_before_anything_is_said() -> None:
    store, said = Watched(), []
    committer = Committer(store, store.claim_epoch())
    store.claim_epoch()

    async def then() -> None:
        said.append(1)

    committer.add([change("a")], then)
    with pytest.raises(StaleEpoch):
        await asyncio.wait_for(committer.run(), 5)
    assert said == []
    assert store.load().get("vm", {}) == {}


async def test_the_epoch_can_be_raised_while_batches_are_being_written() -> None:
    store = Watched()
    committer = Committer(store, store.claim_epoch())
    task = asyncio.create_task(committer.run())
    said: list[int] = []

    async def then() -> None:
        said.append(1)

    for n in range(30):
        committer.add([change(str(n))], then)
        await committer.raise_epoch(committer.epoch + 5)
    await asyncio.wait_for(committer.drained(), 5)
    assert not task.done()
    assert len(said) == 30
    task.cancel()


async def test_one_failing_follow_up_does_not_stop_the_others() -> None:
    store, said = Watched(), []
    committer = Committer(store, store.claim_epoch())

    async def bad() -> None:
        raise RuntimeError("a peer is gone")

    async def good() -> None:
        said.append(1)

    committer.add([change("a")], bad)
    committer.add([change("b")], good)
    task = asyncio.create_task(committer.run())
    await asyncio.wait_for(committer.drained(), 5)
    task.cancel()
    assert said == [1]
