"""Takes commands, carries each out once, and repeats its answer for as long as it takes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar
from weakref import WeakValueDictionary

import structlog

from agent.actions import UNLOCKED, Actions, Limits, decode_args, lock_key, time_limit
from agent.clock import CoordinatorClock
from agent.journal import Entry, Journal, JournalError
from agent.threads import in_thread
from protocol.codec import LIMIT, encode
from protocol.commands import Args, CommandError, Migrate, Shutdown
from protocol.messages import (
    Command,
    CommandAccepted,
    CommandProgress,
    CommandResult,
    Message,
    MigrationProgress,
)
from protocol.spec import encode_spec

_LOG = structlog.get_logger("executor")
PARALLEL = 16
_LONGEST_ERROR = 8000
T = TypeVar("T")
Send = Callable[[Message], Awaitable[bool]]


class Executor:
    """The life of commands on this host.

    `clock` is the coordinator's as far as known, `steady` the agent's steady clock and `wall` its calendar
    one, both in seconds.
    """

    def __init__(
        self,
        journal: Journal,
        actions: Actions,
        send: Send,
        clock: CoordinatorClock,
        *,
        limits: Limits | None = None,
        steady: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._journal = journal
        self._actions = actions
        self._send = send
        self._clock = clock
        self._limits = limits or Limits()
        self._steady = steady
        self._wall = wall
        self._taking = asyncio.Lock()
        self._slots = asyncio.Semaphore(PARALLEL)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._sending: set[asyncio.Task[bool]] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def busy(self) -> frozenset[str]:
        """Ids of the commands under way."""
        return frozenset(self._tasks)

    async def take(self, command: Command) -> None:
        """Answer a command: start it, or repeat what is known of it."""
        try:
            fresh = await self._admitted(command)
        except JournalError as error:
            _LOG.error("a command was refused", command=command.id, problem=str(error))
            await self._send(_failure(command.id, "failed", f"{error}; nothing was done"))
            return
        if fresh:
            await self._send(CommandAccepted(command=command.id))
            self._begin(Entry(command=command, state="accepted", result=None, acked=False))

    async def _admitted(self, command: Command) -> bool:
        async with self._taking:
            entry = await self._written(lambda: self._journal.get(command.id))
            if entry is not None:
                await self._repeat(entry)
                return False
            highest = await self._written(self._journal.highest_epoch)
            if command.epoch < highest:
                await self._send(
                    _failure(
                        command.id,
                        "stale_epoch",
                        f"the command is of the coordinator's epoch {command.epoch} and {highest} has been "
                        "seen; nothing was done",
                    )
                )
                return False
            await self._written(lambda: self._accept(command))
            return True

    async def resume(self, *, waiting: bool) -> None:
        """Go on with the journal after a start: what was running, and with `waiting` what had not begun.

        The latter needs the coordinator's clock, since their deadlines may have passed.
        """
        for entry in await self._written(self._journal.unfinished):
            if waiting or entry.state == "running":
                self._begin(entry)

    async def repeat_results(self) -> None:
        """Send every result again that has not been acknowledged."""
        for result in await self._written(self._journal.unacknowledged):
            if not await self._send(result):
                return

    async def stop(self) -> None:
        """Let go of what is running; the journal still has it."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(self, command: Command) -> None:
        self._journal.raise_epoch(command.epoch)
        self._journal.accept(command, self._wall())

    async def _repeat(self, entry: Entry) -> None:
        if entry.result is not None:
            await self._send(entry.result)
        else:
            await self._send(CommandAccepted(command=entry.command.id))

    def _begin(self, entry: Entry) -> None:
        number = entry.command.id
        if number not in self._tasks:
            task = asyncio.create_task(self._run(entry))
            self._tasks[number] = task
            task.add_done_callback(lambda _: self._tasks.pop(number, None))

    async def _run(self, entry: Entry) -> None:
        command = entry.command
        log = _LOG.bind(command=command.id, operation=command.operation, action=command.action)
        try:
            args = decode_args(command)
            result = await self._carry_out(entry, args)
        except CommandError as error:
            result = CommandResult(
                command=command.id,
                ok=False,
                code=error.code,
                error=error.message[:_LONGEST_ERROR],
                data=error.data,
            )
        except Exception as error:
            log.exception("a command failed in an unforeseen way")
            result = _failure(command.id, "failed", f"{command.action} failed: {error!r}"[:_LONGEST_ERROR])
        if len(encode(result, id="")[1]) > LIMIT:
            result = _failure(command.id, "failed", f"{command.action} gave an answer too long to be sent")
        try:
            await self._written(lambda: self._journal.finish(result, self._wall()))
        except JournalError as error:
            log.error(
                "a result could not be stored; after a restart the command is run again", problem=str(error)
            )
        log.info("command done", ok=result.ok, code=result.code, error=result.error)
        await self._send(result)

    async def _carry_out(self, entry: Entry, args: Args) -> CommandResult:
        command = entry.command
        limit = time_limit(args, self._limits)
        with contextlib.ExitStack() as held:
            lock = self._lock(lock_key(args))
            try:
                async with asyncio.timeout(limit):
                    await lock.acquire()
                    held.callback(lock.release)
                    # What looks or stops must never wait behind sixteen images being fetched.
                    if not isinstance(args, (Migrate, Shutdown, *UNLOCKED)):
                        await self._slots.acquire()
                        held.callback(self._slots.release)
            except TimeoutError as error:
                raise CommandError(
                    "busy", f"{command.action} waited {limit:g} s for others to end; nothing was done"
                ) from error
            if entry.state == "accepted":
                self._refuse_late(command)
                await self._written(lambda: self._journal.running(command.id))
            report = self._progress(command)
            work = in_thread(
                lambda: self._actions.perform(args, report),
                f"{command.action}-{command.id[:8]}",
            )
            # Whatever is held is let go when the call itself ends, even if nobody waits for it any more.
            keep = held.pop_all()
            work.add_done_callback(lambda _: _release(work, keep))
        try:
            async with asyncio.timeout(limit):
                value = await asyncio.shield(work)
        except TimeoutError as error:
            raise CommandError(
                "timeout",
                f"{command.action} has taken more than {limit:g} s; the hypervisor may still be at it: "
                "look at the domain before going on",
            ) from error
        return CommandResult(command=command.id, ok=True, data={} if value is None else encode_spec(value))

    def _refuse_late(self, command: Command) -> None:
        self._clock.heard(command.sent_at, self._steady())
        now = self._clock.now(self._steady())
        if now is not None and now > command.deadline:
            raise CommandError(
                "expired",
                f"{command.action} came {now - command.deadline:.1f} s after its deadline; nothing was done",
            )

    def _progress(self, command: Command) -> Callable[[MigrationProgress], None]:
        loop = asyncio.get_running_loop()

        def report(progress: MigrationProgress) -> None:
            message = CommandProgress(command=command.id, data=encode_spec(progress))
            with contextlib.suppress(RuntimeError):  # the loop has gone
                loop.call_soon_threadsafe(self._send_soon, message)

        return report

    def _send_soon(self, message: Message) -> None:
        task = asyncio.ensure_future(self._send(message))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    def _lock(self, key: str | None) -> asyncio.Lock:
        fresh = asyncio.Lock()
        return fresh if key is None else self._locks.setdefault(key, fresh)

    async def _written(self, call: Callable[[], T]) -> T:
        """The journal waits for the disk, so it is asked from a thread."""
        return await asyncio.shield(in_thread(call, "journal"))


def _release(done: asyncio.Future[T], held: contextlib.ExitStack) -> None:
    held.close()
    if not done.cancelled():
        done.exception()  # marks it as seen: after a time-out nobody else looks


def _failure(command: str, code: str, error: str) -> CommandResult:
    return CommandResult(command=command, ok=False, code=code, error=error)
