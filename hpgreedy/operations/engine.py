"""The engine: events in, changes and commands out; no input or output, no clock of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from hpgreedy.operations.context import Context, Tell
from hpgreedy.operations.inventory import compare
from hpgreedy.operations.kept import Keeping
from hpgreedy.operations.kinds import TABLE
from hpgreedy.operations.kinds.base import begin, call_off
from hpgreedy.operations.records import HostRecord, OperationRecord
from hpgreedy.operations.world import HostLive, Now, World
from protocol.messages import CommandResult, DomainEvent, DomainReport, Hello, MigrationProgress, Report

STALL = 2.0
"""Seconds without `awake` after which the coordinator counts as having been too busy to read."""


class Outcome(msgspec.Struct, frozen=True):
    """What follows from an event. `context.changes` go to disk first, then `tells` are sent."""

    context: Context
    tells: tuple[Tell, ...]


class Engine:
    """Drives every open operation; each method is one event and returns what follows from it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.progress: dict[int, MigrationProgress] = {}
        self._sent: dict[str, float] = {}
        self._accepted: set[str] = set()
        self._retry_at: dict[int, float] = {}
        self._keeping = Keeping()
        self._awake: float | None = None

    def run(self, now: Now, act: Callable[[Context], None], by: str = "") -> Outcome:
        """Let `act` change the world through a context and follow up on what it did; `by` = who asked for it.

        When `act` raises, every record is as it was before.
        """
        ctx = Context(self.world, now, by)
        try:
            act(ctx)
            return self._settle(ctx)
        except BaseException:
            ctx.undo()
            raise

    def resume(self, now: Now) -> Outcome:
        """After a restart: enter every open operation that waits for no command again."""

        def act(ctx: Context) -> None:
            for before in list(self.world.open_operations()):
                op = self.world.operations[before.id]
                kind = TABLE[op.kind]
                if op.cancelled_by and op.state in kind.cancel:
                    call_off(ctx, op)
                elif op.state in kind.child:
                    kind.child[op.state](ctx, op)
                # One that its parent has just seen to is begun already.
                elif op is before and not op.waiting and op.state in kind.enter:
                    begin(ctx, ctx.note(op, "taken up again after a restart of the coordinator"))

        return self.run(now, act)

    def awake(self, now: Now) -> None:
        """The coordinator can read what hosts say; called regularly and before what takes long.

        When it was not called for longer than `STALL`, the coordinator read nothing in that time, and no host
        counts as silent for it.
        """
        before, self._awake = self._awake, now.mono
        if before is None or now.mono - before <= STALL:
            return
        for name, live in list(self.world.live.items()):
            if live.heard is not None and before <= live.heard + self.world.settings.host_timeout:
                heard = min(now.mono, live.heard + now.mono - before)
                self.world.live[name] = msgspec.structs.replace(live, heard=heard)

    def host_hello(self, now: Now, public_key: str, hello: Hello) -> Outcome:
        """A host has (re)connected: its facts are kept, and what it may have missed is sent again."""

        def act(ctx: Context) -> None:
            old = self.world.hosts.get(hello.name)
            joined = old.joined if old is not None else now.wall
            draining = old.draining if old is not None else False
            new = HostRecord(
                id=hello.host_id,
                name=hello.name,
                public_key=public_key,
                hello=hello,
                joined=joined,
                draining=draining,
            )
            if new != old:
                ctx.put_host(new)
            live = self.world.live_of(hello.name)
            self.world.live[hello.name] = msgspec.structs.replace(
                live, heard=now.mono, heard_wall=now.wall, left=False
            )
            ctx.tells.extend(tell for tell in self._open() if tell.host == hello.name)

        return self.run(now, act)

    def host_report(self, now: Now, name: str, report: Report) -> Outcome:
        """A host's regular report."""

        def act(ctx: Context) -> None:
            before = self.world.live_of(name)
            self._measure(before, report)
            self.world.live[name] = HostLive(heard=now.mono, heard_wall=now.wall, report=report)
            if report.hypervisor_up:
                compare(ctx, name, report)

        return self.run(now, act)

    def host_left(self, now: Now, name: str) -> Outcome:
        """A host's agent has stopped in good order."""

        def act(ctx: Context) -> None:
            live = self.world.live_of(name)
            self.world.live[name] = msgspec.structs.replace(live, left=True)

        return self.run(now, act)

    def domain_event(self, now: Now, name: str, event: DomainEvent) -> Outcome:
        """A domain changed: the last report of its host is corrected until the next one comes."""

        def act(ctx: Context) -> None:
            live = self.world.live.get(name)
            if live is None or live.report is None:
                return
            report = msgspec.structs.replace(live.report, domains=_corrected(live.report.domains, event))
            self.world.live[name] = msgspec.structs.replace(live, heard=now.mono, report=report)
            compare(ctx, name, report, only=event.uuid)

        return self.run(now, act)

    def command_accepted(self, command: str) -> None:
        """A host has the command in its journal."""
        self._accepted.add(command)

    def command_progress(self, command: str, progress: MigrationProgress) -> None:
        """Figures of a running migration; kept in memory only."""
        self._accepted.add(command)
        op = self._waiting_for(command)
        if op is not None:
            self.progress[op.id] = progress

    def command_result(self, now: Now, name: str, result: CommandResult) -> Outcome:
        """The end of a command; one that nothing waits for any more changes nothing."""

        def act(ctx: Context) -> None:
            op = self._waiting_for(result.command)
            if op is None:
                return
            waiting = next(item for item in op.waiting if item.id == result.command)
            if waiting.host != name:
                return
            rest = tuple(item for item in op.waiting if item.id != result.command)
            op = ctx.put_operation(msgspec.structs.replace(op, waiting=rest))
            handler = TABLE[op.kind].result.get(op.state)
            if handler is not None:
                handler(ctx, op, waiting, result)
            self._forget(result.command)

        return self.run(now, act)

    def tick(self, now: Now) -> Outcome:
        """Time has passed: due retries are made, commands that no host has confirmed are sent again."""

        def act(ctx: Context) -> None:
            due = [number for number, at in self._retry_at.items() if at <= now.mono]
            for number in due:
                del self._retry_at[number]
                op = self.world.operations.get(number)
                if op is None or op.done:
                    continue
                if op.cancelled_by and op.state in TABLE[op.kind].cancel:
                    call_off(ctx, op)
                elif not op.waiting:
                    begin(ctx, op)
            self._keeping.clean(ctx)
            just_told = {tell.waiting.id for tell in ctx.tells}
            again = [tell for tell in self._unconfirmed(now) if tell.waiting.id not in just_told]
            ctx.tells.extend(again)

        return self.run(now, act)

    def _settle(self, ctx: Context) -> Outcome:
        """Parents hear of ended children; commands are stamped as sent; retries are scheduled."""
        while ctx.ended:
            number = ctx.ended.pop(0)
            self.progress.pop(number, None)
            self._retry_at.pop(number, None)
            parent = self.world.operations.get(self.world.operations[number].parent or 0)
            if parent is not None and not parent.done and parent.state in TABLE[parent.kind].child:
                TABLE[parent.kind].child[parent.state](ctx, parent)
        for number, at in ctx.retries.items():
            if number in self.world.open:
                self._retry_at[number] = at
        for tell in ctx.tells:
            self._sent[tell.waiting.id] = ctx.now.mono
        return Outcome(ctx, tuple(ctx.tells))

    def _waiting_for(self, command: str) -> OperationRecord | None:
        parts = command.split(".")
        if len(parts) < 2 or not parts[1].isdecimal():
            return None
        op = self.world.operations.get(int(parts[1]))
        if op is None or op.done or all(item.id != command for item in op.waiting):
            return None
        return op

    def _open(self) -> Iterator[Tell]:
        """The commands that operations wait for, oldest first."""
        for op in self.world.open_operations():
            for item in op.waiting:
                yield Tell(item.host, op.id, item)

    def _unconfirmed(self, now: Now) -> Iterator[Tell]:
        patience = self.world.settings.resend_after
        for tell in self._open():
            overdue = now.mono - self._sent.get(tell.waiting.id, float("-inf")) >= patience
            if overdue and tell.waiting.id not in self._accepted and self.world.heard_lately(tell.host, now):
                yield tell

    def _forget(self, command: str) -> None:
        self._sent.pop(command, None)
        self._accepted.discard(command)

    def _measure(self, before: HostLive, report: Report) -> None:
        """CPU use of each VM since the host's previous report, in percent of one CPU."""
        if before.report is None or report.at <= before.report.at:
            return
        old = {domain.uuid: domain.cpu_seconds for domain in before.report.domains}
        span = report.at - before.report.at
        for domain in report.domains:
            used = domain.cpu_seconds - old.get(domain.uuid, domain.cpu_seconds)
            self.world.cpu_percent[domain.uuid] = max(0.0, 100.0 * used / span)


def _corrected(domains: tuple[DomainReport, ...], event: DomainEvent) -> tuple[DomainReport, ...]:
    if event.state is None:
        return tuple(domain for domain in domains if domain.uuid != event.uuid)
    if all(domain.uuid != event.uuid for domain in domains):
        return (*domains, DomainReport(uuid=event.uuid, name=event.name, state=event.state, ours=False))
    return tuple(
        msgspec.structs.replace(domain, state=event.state) if domain.uuid == event.uuid else domain
        for domain in domains
    )
