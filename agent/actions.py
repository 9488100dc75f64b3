"""From a command's arguments to calls of the driver."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec

from agent.fence import Fence
from agent.ports import Driver, ReadChunk
from protocol.commands import (
    ACTIONS,
    AbortMigration,
    AbortShutdown,
    Adopt,
    Args,
    CommandError,
    ConsoleLog,
    DeletedDisks,
    DeleteImage,
    Destroy,
    FetchImage,
    FinishIncoming,
    Inspect,
    Migrate,
    PrepareIncoming,
    Provision,
    Remove,
    Shutdown,
    Start,
)
from protocol.messages import Command, MigrationProgress
from protocol.spec import ImageManifest, SpecError, decode_spec

Progress = Callable[[MigrationProgress], None]
# These look, or must not wait: they pass a running migration or shutdown of the same domain.
UNLOCKED: tuple[type[Args], ...] = (AbortMigration, AbortShutdown, Inspect, ConsoleLog, Destroy)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds after which the agent stops waiting for a driver's call."""

    look: float = 20.0
    change: float = 120.0
    fetch: float = 3600.0


def decode_args(command: Command) -> Args:
    """The arguments as a struct. Raises CommandError("bad_arguments")."""
    kind = ACTIONS.get(command.action)
    if kind is None:
        raise CommandError(
            "bad_arguments",
            f"the action {command.action!r} is not known; update this agent, nothing was done",
        )
    try:
        return decode_spec(command.args, kind, command.action)
    except SpecError as error:
        raise CommandError("bad_arguments", f"{error.message}; nothing was done") from error


def lock_key(args: Args) -> str | None:
    """What commands must not run side by side for: a domain, an image; None = nothing."""
    if isinstance(args, UNLOCKED):
        return None
    if isinstance(args, Provision | PrepareIncoming):
        return args.plan.uuid
    if isinstance(args, FetchImage | DeleteImage):
        return f"image {args.image.name}"
    if isinstance(args, Adopt):
        return f"name {args.name}"
    uuid: str = getattr(args, "uuid", "")
    return uuid or None


def time_limit(args: Args, limits: Limits) -> float | None:
    """Seconds a call may take; None = as long as it needs."""
    if isinstance(args, Migrate):
        return None
    if isinstance(args, Shutdown):
        return args.grace + limits.change
    if isinstance(args, Provision | PrepareIncoming | FetchImage):
        return limits.fetch
    if isinstance(args, Inspect | ConsoleLog | AbortMigration | AbortShutdown):
        return limits.look
    return limits.change


class Actions:
    """Carries out decoded commands; `perform` blocks and is called from worker threads."""

    def __init__(
        self, driver: Driver, read: ReadChunk, fence: Fence, coordinator_now: Callable[[], float | None]
    ) -> None:
        self._driver = driver
        self._read = read
        self._fence = fence
        self._coordinator_now = coordinator_now
        self._guard = threading.Lock()
        self._images: dict[str, threading.Lock] = {}
        self._shutdowns: dict[str, threading.Event] = {}
        self._table: dict[type[Args], Callable[[Any, Progress], msgspec.Struct | None]] = {
            Provision: self._provision,
            PrepareIncoming: self._prepare,
            FinishIncoming: lambda args, _: self._finish(args),
            Start: lambda args, _: driver.runtime.start(args.uuid),
            Shutdown: self._shut_down,
            AbortShutdown: self._wait_no_longer,
            Destroy: lambda args, _: driver.runtime.destroy(args.uuid, args.unless_running),
            Remove: lambda args, _: self._remove(args),
            Migrate: driver.mover.migrate,
            AbortMigration: lambda args, _: driver.mover.abort(args.uuid),
            Inspect: lambda args, _: driver.runtime.inspect(args.uuid),
            ConsoleLog: lambda args, _: driver.runtime.console_log(args.uuid, args.name, args.size),
            Adopt: lambda args, _: driver.runtime.adopt(args.name, args.stamp),
            FetchImage: lambda args, _: self._ensure(args.image),
            DeleteImage: lambda args, _: self._delete(args.image),
        }

    def perform(self, args: Args, progress: Progress) -> msgspec.Struct | None:
        """Do it. Raises CommandError."""
        return self._table[type(args)](args, progress)

    def _shut_down(self, args: Shutdown, _progress: Progress) -> None:
        broken_off = self._shutdowns[args.uuid] = threading.Event()
        try:
            self._driver.runtime.shutdown(args.uuid, args.grace, args.force, broken_off.is_set)
        finally:
            self._shutdowns.pop(args.uuid, None)

    def _wait_no_longer(self, args: AbortShutdown, _progress: Progress) -> None:
        waiting = self._shutdowns.get(args.uuid)
        if waiting is not None:
            waiting.set()

    def _provision(self, args: Provision, _progress: Progress) -> None:
        self._ensure(args.plan.image, args.plan.kernel_image)
        self._driver.runtime.provision(args.plan)

    def _prepare(self, args: PrepareIncoming, _progress: Progress) -> None:
        here = {pool.storage_id for pool in self._driver.images.pools()}
        if args.copy and here & set(args.source_storage):
            raise CommandError(
                "refused",
                "disks were to be copied here from a host that has the same storage, which would overwrite "
                "them; nothing was changed",
            )
        self._ensure(args.plan.image, args.plan.kernel_image)
        self._driver.mover.prepare(args.plan, args.copy)
        now = self._coordinator_now()
        if now is not None:
            self._fence.open(args.plan.uuid, args.source_addresses, args.open_until - now)

    def _remove(self, args: Remove) -> DeletedDisks:
        self._fence.close(args.uuid)
        return DeletedDisks(files=self._driver.runtime.remove(args.uuid, args.disks))

    def _finish(self, args: FinishIncoming) -> None:
        self._fence.close(args.uuid)
        if args.resume:
            self._driver.runtime.resume(args.uuid)

    def _ensure(self, *images: ImageManifest | None) -> None:
        for image in images:
            if image is not None:
                with self._image_lock(image.name):
                    self._driver.images.ensure(image, self._read)

    def _delete(self, image: ImageManifest) -> None:
        with self._image_lock(image.name):
            self._driver.images.delete(image)

    def _image_lock(self, name: str) -> threading.Lock:
        with self._guard:
            return self._images.setdefault(name, threading.Lock())
