"""What a handler of the engine works with: it changes the world and collects what must follow.

The shell first makes `changes` durable and only then sends `tells`, so nothing is done that a restart
would not know of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from hpgreedy.operations.ports import Change
from hpgreedy.operations.records import (
    HostRecord,
    ImageRecord,
    KeyRecord,
    Meta,
    OperationRecord,
    RequestRecord,
    Step,
    VmRecord,
    Waiting,
    to_value,
)
from hpgreedy.operations.transitions import ENDED, FIRST, TRANSITIONS
from hpgreedy.operations.world import Now, World
from protocol.commands import Args
from protocol.spec import encode_spec

HISTORY_LIMIT = 200
"""Entries of a history that are kept: the first, and the newest."""
PATIENCE = 30
"""Tries of a step after which the waits between them grow: one that cannot succeed now is to cost little."""
LONGEST_WAIT = 60.0
K = TypeVar("K", str, int)
R = TypeVar("R")


class Tell(msgspec.Struct, frozen=True):
    """Send this command to that host."""

    host: str
    operation: int
    waiting: Waiting


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not a fault
    """A request that is not accepted; nothing has changed. `code` as in `protocol.verbs.EXIT_CODES`."""

    def __init__(
        self, code: str, message: str, field: str = "", details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.details = details or {}


class Context:
    """One event's worth of change; made by the engine for each event. `notes` are for whoever asked.

    `by` = the person whose request the event is, if it is one.
    """

    def __init__(self, world: World, now: Now, by: str = "") -> None:
        self.world = world
        self.now = now
        self.by = by
        self.tells: list[Tell] = []
        self.alarms: list[str] = []
        self.notes: list[str] = []
        self.ended: list[int] = []
        self.retries: dict[int, float] = {}
        self._changed: dict[tuple[str, str], dict[str, Any] | None] = {}
        self._undo: list[Callable[[], object]] = []

    @property
    def changes(self) -> tuple[Change, ...]:
        """What must be on disk before anything else happens, each record once."""
        return tuple(Change(kind=k, key=key, value=value) for (k, key), value in self._changed.items())

    def put_vm(self, vm: VmRecord) -> None:
        """Keep a VM."""
        self._put("vm", self.world.vms, vm.key, vm)

    def drop_vm(self, key: str) -> None:
        """Forget a VM that has been removed."""
        self._drop("vm", self.world.vms, key)
        self.world.settled.pop(key, None)

    def put_host(self, host: HostRecord) -> None:
        """Keep a host."""
        self._put("host", self.world.hosts, host.name, host)

    def put_image(self, image: ImageRecord) -> None:
        """Keep an image."""
        self._put("image", self.world.images, image.manifest.name, image)

    def drop_image(self, name: str) -> None:
        """Forget an image."""
        self._drop("image", self.world.images, name)

    def put_key(self, key: KeyRecord) -> None:
        """Admit a key."""
        self._put("key", self.world.keys, key.public_key, key)

    def drop_key(self, public_key: str) -> None:
        """Admit a key no longer."""
        self._drop("key", self.world.keys, public_key)

    def put_request(self, key: str, request: RequestRecord) -> None:
        """Remember that a request was accepted."""
        self._put("request", self.world.requests, key, request)

    def drop_request(self, key: str) -> None:
        """Forget a request that nobody will repeat any more."""
        self._drop("request", self.world.requests, key)

    def put_meta(self, meta: Meta) -> None:
        """Keep the cluster's own facts."""
        old = self.world.meta
        self._undo.append(lambda: setattr(self.world, "meta", old))
        self.world.meta = meta
        self._changed["meta", "cluster"] = to_value(meta)

    def undo(self) -> None:
        """Put every record back as it was; for an event that could not be handled to its end."""
        while self._undo:
            self._undo.pop()()

    def put_operation(self, op: OperationRecord) -> OperationRecord:
        """Keep an operation."""
        self._put("operation", self.world.operations, op.id, op)
        return op

    def drop_operation(self, number: int) -> None:
        """Forget an operation that ended long ago."""
        self._drop("operation", self.world.operations, number)

    def new_operation(self, kind: str, state: str, owner: str, **fields: Any) -> OperationRecord:
        """Mint an operation in one of the states its kind can begin in."""
        assert state in FIRST[kind], (kind, state)
        meta = self.world.meta
        self.put_meta(msgspec.structs.replace(meta, next_operation=meta.next_operation + 1))
        at = self.now.wall
        op = OperationRecord(
            id=meta.next_operation,
            kind=kind,
            state=state,
            owner=owner,
            created=at,
            updated=at,
            history=(Step(at, state, fields.get("why", ""), self.by),),
            **fields,
        )
        return self.put_operation(op)

    def goto(self, op: OperationRecord, state: str, note: str = "", **fields: Any) -> OperationRecord:
        """Move an operation along the table of transitions."""
        if state not in TRANSITIONS[op.kind][op.state]:
            raise AssertionError(f"operation {op.id}: {op.kind} may not go from {op.state} to {state}")
        done = state in ENDED
        op = msgspec.structs.replace(
            op,
            state=state,
            updated=self.now.wall,
            history=_with(op.history, Step(self.now.wall, state, note, self.by)),
            waiting=(),
            tries=0,
            done=done,
            ok=(state == "completed") if done else None,
            **fields,
        )
        if done:
            self.ended.append(op.id)
        return self.put_operation(op)

    def note(self, op: OperationRecord, note: str, **fields: Any) -> OperationRecord:
        """Add to an operation's history without changing its state; the same note again is counted."""
        history = _with(op.history, Step(self.now.wall, op.state, note, self.by))
        return self.put_operation(
            msgspec.structs.replace(op, history=history, updated=self.now.wall, **fields)
        )

    def tell(
        self, op: OperationRecord, host: str, args: Args, ttl: float | None = None, tag: str = ""
    ) -> OperationRecord:
        """Have a host do something for an operation, which then waits for the result."""
        attempt = op.attempt + 1
        waiting = Waiting(
            id=f"{self.world.meta.cluster[:8]}.{op.id}.{op.state}{tag}.{attempt}",
            host=host,
            action=args.action,
            args=encode_spec(args),
            ttl=ttl if ttl is not None else self.world.settings.command_ttl,
        )
        self.tells.append(Tell(host, op.id, waiting))
        return self.put_operation(
            msgspec.structs.replace(op, waiting=(*op.waiting, waiting), attempt=attempt)
        )

    def retry(self, op: OperationRecord, note: str, delay: float = 2.0) -> OperationRecord:
        """Enter the operation's state again after `delay` seconds, later when that was often in vain."""
        rounds = max(0, op.tries - PATIENCE)
        wait = min(delay * 2.0 ** min(rounds, 16), max(LONGEST_WAIT, delay))
        op = self.note(op, note, waiting=(), tries=op.tries + 1)
        self.retries[op.id] = self.now.mono + wait
        return op

    def look_again(self, op: OperationRecord, delay: float) -> OperationRecord:
        """Have an operation that is being cancelled see to that again after `delay` seconds."""
        self.retries[op.id] = self.now.mono + delay
        return op

    def alarm(self, sentence: str) -> None:
        """Say something that an operator must hear."""
        self.alarms.append(sentence)

    def release(self, op: OperationRecord) -> None:
        """Let go of the VM that the operation had hold of."""
        vm = self.world.vms.get(op.vm_key)
        self.world.settled[op.vm_key] = self.now.mono
        if vm is not None and vm.operation == op.id:
            self.put_vm(msgspec.structs.replace(vm, operation=None))

    def _put(self, kind: str, table: dict[K, R], key: K, record: R) -> None:
        self._remember(table, key)
        table[key] = record
        self._changed[kind, str(key)] = to_value(record)

    def _drop(self, kind: str, table: dict[K, R], key: K) -> None:
        self._remember(table, key)
        table.pop(key, None)
        self._changed[kind, str(key)] = None

    def _remember(self, table: dict[K, R], key: K) -> None:
        if key in table:
            old = table[key]
            self._undo.append(lambda: table.__setitem__(key, old))
        else:
            self._undo.append(lambda: table.pop(key, None))


def _with(history: tuple[Step, ...], new: Step) -> tuple[Step, ...]:
    last = history[-1]
    if (last.note, last.state, last.by) == (new.note, new.state, new.by):
        return (*history[:-1], msgspec.structs.replace(last, count=last.count + 1))
    return (history[0], *history[1:][-(HISTORY_LIMIT - 2) :], new)
