"""What both doors work on: the engine, the committer, the keys and the image files, put together."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from hpgreedy.coordinator.access import Keyring
from hpgreedy.coordinator.answers import Answers
from hpgreedy.coordinator.committer import Committer
from hpgreedy.coordinator.images import ImageFiles
from hpgreedy.operations.context import Context, Tell
from hpgreedy.operations.engine import Engine, Outcome
from hpgreedy.operations.world import Now, World
from protocol.commands import Args

_LOG = structlog.get_logger("coordinator")

SendTell = Callable[[Tell], Awaitable[None]]
AskHost = Callable[[str, Args, float], Awaitable[dict[str, Any]]]


async def nothing() -> None:
    """Nothing is to follow."""


class Core:
    """The head node without its doors."""

    def __init__(self, world: World, committer: Committer, files: ImageFiles, server_public: str) -> None:
        self.world = world
        self.engine = Engine(world)
        self.committer = committer
        self.files = files
        self.server_public = server_public
        self.keyring = Keyring(world, time.time)
        self.answers = Answers()
        self.refused: Counter[str] = Counter()
        self.started = time.monotonic()
        self.send_tell: SendTell | None = None
        self.ask_host: AskHost | None = None

    def now(self) -> Now:
        """The time, read at the edge."""
        return Now(time.time(), time.monotonic())

    def apply(self, outcome: Outcome, then: Callable[[], Awaitable[None]] = nothing) -> None:
        """Make an outcome durable; then send its commands, say its alarms and run `then`."""
        for sentence in outcome.context.alarms:
            _LOG.warning("attention", what=sentence)
        changes = outcome.context.changes

        async def follow() -> None:
            for tell in outcome.tells:
                if self.send_tell is not None:
                    await self.send_tell(tell)
            await then()

        if changes or outcome.tells or then is not nothing:
            self.committer.add(changes, follow)

    def change(
        self, act: Callable[[Context], None], then: Callable[[], Awaitable[None]] = nothing, by: str = ""
    ) -> None:
        """Let `act` change the world, since `by` asked for it; what it raises has changed nothing."""
        self.apply(self.engine.run(self.now(), act, by), then)

    def mint_uuid(self) -> str:
        """A fresh uuid for a VM."""
        return str(uuid.uuid4())
