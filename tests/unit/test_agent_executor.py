import asyncio
import threading
import uuid
from pathlib import Path

import pytest

from agent.actions import Actions, Limits
from agent.clock import CoordinatorClock
from agent.executor import PARALLEL, Executor
from agent.fence import NoFence
from agent.journal import Journal
from protocol.commands import CommandError, Inspected, Migrated, PrepareIncoming, Stamp, VmPlan
from protocol.messages import (
    Command,
    CommandAccepted,
    CommandProgress,
    CommandResult,
    MigrationProgress,
    PoolFacts,
)
from protocol.spec import Memory, VmSpec, encode_spec

VM = str(uuid.UUID(int=1))
OTHER = str(uuid.UUID(int=2))


class FakeDriver:
    """Records calls; `gates` hold a call back until they are set."""

    def __init__(self) -> None:
        self.runtime = self.mover = self.images = self.meter = self
        self.calls: list[tuple] = []
        self.gates: dict[str, threading.Event] = {}
        self.fail: Exception | None = None
        self.files = ("/pool/x",)

    def _did(self, *call) -> None:
        self.calls.append(call)
        gate = self.gates.get(call[0])
        if gate is not None:
            assert gate.wait(20)
        if self.fail is not None:
            raise self.fail

    def start(self, vm):
        self._did("start", vm)

    def destroy(self, vm, unless_running=False):
        self._did("destroy", vm)

    def shutdown(self, vm, grace, force, broken_off=lambda: False):
        self._did("shutdown", vm, grace, force)
        if broken_off():
            raise CommandError("aborted", "no longer waited for")

    def remove(self, vm, disks):
        self._did("remove", vm, disks)
        return self.files

    def pools(self):
        return (PoolFacts(name="p", path="/p", storage_id="mine"),)

    def prepare(self, plan, copy):
        self._did("prepare", plan.uuid, copy)

    def inspect(self, vm):
        self._did("inspect", vm)
        return Inspected(present=True, state="running")

    def abort(self, vm):
        self._did("abort", vm)

    def migrate(self, order, progress):
        progress(MigrationProgress(total=10, processed=5))
        self._did("migrate", order.uuid)
        return Migrated(total_ms=1, downtime_ms=2, transferred=3)


class Rig:
    """An executor between a fake driver and a list of what was sent."""

    def __init__(self, tmp_path: Path, limits: Limits | None = None) -> None:
        self.driver = FakeDriver()
        self.sent: list = []
        self.online = True
        self.steady = 100.0
        self.clock = CoordinatorClock()
        self.path = tmp_path / "journal.db"
        self.limits = limits
        self.boot()

    def boot(self) -> None:
        self.journal = Journal(self.path)
        self.executor = Executor(
            self.journal,
            Actions(self.driver, lambda *_: b"", NoFence("a test"), lambda: None),
            self.send,
            self.clock,
            limits=self.limits,
            steady=lambda: self.steady,
            wall=lambda: 1.0,
        )

    async def send(self, message) -> bool:
        if self.online:
            self.sent.append(message)
        return self.online

    async def until(self, reached):
        async with asyncio.timeout(15):
            while not reached():  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    def results(self, number=None):
        found = [m for m in self.sent if isinstance(m, CommandResult)]
        return [m for m in found if number is None or m.command == number]

    async def do(self, command: Command) -> CommandResult:
        before = len(self.results(command.id))
        await self.executor.take(command)
        await self.until(lambda: len(self.results(command.id)) > before)
        return self.results(command.id)[-1]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def command(number="c1", action="start", epoch=1, sent_at=1000.0, deadline=1060.0, **args) -> Command:
    return Command(
        id=number,
        operation="1",
        epoch=epoch,
        sent_at=sent_at,
        deadline=deadline,
        action=action,
        args=args or {"uuid": VM},
    )


def migrate(number="m1", vm=VM) -> Command:
    return command(number, "migrate", uuid=vm, target_uri="simulated:///x", target_address="a", copy=False)


async def test_a_command_is_accepted_done_and_stored_until_acknowledged(rig: Rig):
    result = await rig.do(command())
    assert result == CommandResult(command="c1", ok=True)
    assert rig.sent[0] == CommandAccepted(command="c1")
    assert rig.driver.calls == [("start", VM)]
    rig.sent.clear()
    await rig.executor.repeat_results()
    assert rig.results() == [result]
    rig.journal.acknowledge("c1")
    rig.sent.clear()
    await rig.executor.repeat_results()
    assert rig.sent == []


async def test_it_is_in_the_journal_before_the_driver_is_called(rig: Rig):
    seen = []
    rig.driver.start = lambda _vm: seen.append(Journal(rig.path).get("c1").state)
    await rig.do(command())
    assert seen == ["running"]


async def test_a_repeated_id_gets_the_stored_answer_and_is_not_done_again(rig: Rig):
    first = await rig.do(command())
    assert await rig.do(command()) == first
    assert await rig.do(command(epoch=5)) == first
    assert rig.driver.calls == [("start", VM)]


async def test_a_repeated_id_that_runs_is_only_accepted_again(rig: Rig):
    rig.driver.gates["start"] = threading.Event()
    await rig.executor.take(command())
    await rig.until(lambda: rig.driver.calls)
    await rig.executor.take(command())
    assert rig.sent == [CommandAccepted(command="c1")] * 2
    rig.driver.gates["start"].set()
    await rig.until(rig.results)
    assert rig.driver.calls == [("start", VM)]


async def test_a_stale_epoch_is_refused_and_a_newer_one_remembered(rig: Rig):
    await rig.do(command("new", epoch=4))
    result = await rig.do(command("old", epoch=3))
    assert (result.ok, result.code) == (False, "stale_epoch")
    assert rig.driver.calls == [("start", VM)]
    rig.boot()
    assert (await rig.do(command("old2", epoch=3))).code == "stale_epoch"


async def test_a_stale_copy_of_a_known_command_repeats_its_answer(rig: Rig):
    first = await rig.do(command("c1", epoch=3))
    await rig.do(command("c2", epoch=4))
    assert await rig.do(command("c1", epoch=3)) == first


async def test_a_command_after_its_deadline_is_refused_and_stays_refused(rig: Rig):
    rig.clock.heard(1000.0, 100.0)
    rig.steady = 161.0
    late = await rig.do(command())
    assert (late.ok, late.code) == (False, "expired")
    rig.steady = 100.0
    assert await rig.do(command()) == late
    assert rig.driver.calls == []


async def test_a_command_that_lay_in_a_queue_does_not_set_the_clock_back(rig: Rig):
    rig.clock.heard(1000.0, 100.0)
    rig.steady = 500.0
    assert (await rig.do(command(sent_at=1001.0, deadline=1030.0))).code == "expired"


async def test_the_agents_own_calendar_does_not_matter(rig: Rig):
    assert (await rig.do(command(sent_at=5.0, deadline=6.0))).ok


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (command(action="explode"), "'explode' is not known"),
        (command(uuid="nonsense"), "start.uuid"),
        (command(uuid=VM, colour="red"), 'unknown field "colour"'),
        (command(action="migrate", uuid=VM), "lacks the field"),
    ],
)
async def test_bad_arguments_are_refused_by_name(rig: Rig, bad: Command, words: str):
    result = await rig.do(bad)
    assert (result.ok, result.code) == (False, "bad_arguments")
    assert words in result.error
    assert rig.driver.calls == []


async def test_a_drivers_error_is_the_result(rig: Rig):
    rig.driver.fail = CommandError("no_space", "the pool is full", {"free": 0})
    assert await rig.do(command()) == CommandResult(
        command="c1", ok=False, code="no_space", error="the pool is full", data={"free": 0}
    )


async def test_an_unforeseen_error_is_a_result_too(rig: Rig):
    rig.driver.fail = ZeroDivisionError("oops")
    result = await rig.do(command())
    assert (result.code, "oops" in result.error) == ("failed", True)


async def test_figures_are_returned_and_progress_is_sent(rig: Rig):
    result = await rig.do(migrate())
    assert result.data == {"total_ms": 1, "downtime_ms": 2, "transferred": 3}
    progress = [m for m in rig.sent if isinstance(m, CommandProgress)]
    assert progress[0].data == {"total": 10, "processed": 5}
    assert (await rig.do(command("r", "remove", uuid=VM, disks=True))).data == {"files": ["/pool/x"]}


async def test_nothing_waits_for_a_migration_but_changes_of_the_same_vm(rig: Rig):
    gate = rig.driver.gates["migrate"] = threading.Event()
    await rig.executor.take(migrate())
    await rig.until(lambda: ("migrate", VM) in rig.driver.calls)
    for number, action in (("i", "inspect"), ("a", "abort_migration"), ("d", "destroy")):
        assert (await rig.do(command(number, action))).ok
    assert (await rig.do(command("s2", "start", uuid=OTHER))).ok
    await rig.executor.take(command("s1", "start", uuid=VM))
    await rig.do(command("i2", "inspect"))
    assert rig.results("s1") == []
    gate.set()
    await rig.until(lambda: rig.results("s1"))
    calls = [call for call in rig.driver.calls if call[0] in ("migrate", "start")]
    assert calls == [("migrate", VM), ("start", OTHER), ("start", VM)]


async def test_many_migrations_do_not_hold_up_the_rest(rig: Rig):
    gate = rig.driver.gates["migrate"] = threading.Event()
    for n in range(40):
        await rig.executor.take(migrate(f"m{n}", str(uuid.UUID(int=100 + n))))
    await rig.until(lambda: len(rig.driver.calls) == 40)
    assert (await rig.do(command())).ok
    gate.set()
    await rig.until(lambda: len(rig.results()) == 41)


async def test_looks_and_stops_do_not_wait_behind_slow_changes(rig: Rig):
    gate = rig.driver.gates["start"] = threading.Event()
    for n in range(PARALLEL + 4):
        await rig.executor.take(command(f"s{n}", uuid=str(uuid.UUID(int=200 + n))))
    await rig.until(lambda: len(rig.driver.calls) == PARALLEL)
    assert (await rig.do(command("look", "inspect", uuid=OTHER))).ok
    assert (await rig.do(command("stop", "destroy", uuid=OTHER))).ok
    gate.set()
    await rig.until(lambda: len(rig.results()) == PARALLEL + 6)


async def test_a_result_too_long_to_send_becomes_a_failure(rig: Rig):
    rig.driver.files = ("x" * 8000,) * 300
    result = await rig.do(command(action="remove", uuid=VM, disks=True))
    assert (result.ok, result.code) == (False, "failed")
    assert "too long to be sent" in result.error


@pytest.mark.parametrize(
    ("storage", "copy", "ok"), [("mine", True, False), ("other", True, True), ("mine", False, True)]
)
async def test_disks_are_never_copied_onto_the_storage_they_are_on(
    rig: Rig, storage: str, copy: bool, ok: bool
):
    plan = VmPlan(
        spec=VmSpec(id="a", cpu=1, memory=Memory(64)),
        uuid=VM,
        macs=(),
        max_cpu=1,
        max_memory_mib=64,
        stamp=Stamp(operation="1", owner="ann", cluster="c"),
    )
    args = encode_spec(PrepareIncoming(plan=plan, copy=copy, source_storage=(storage,)))
    result = await rig.do(command(action="prepare_incoming", **args))
    assert result.ok is ok
    assert bool(rig.driver.calls) is ok, "a refusal touches nothing"
    assert ok or result.code == "refused"


async def test_a_call_that_hangs_times_out_and_keeps_its_vm(tmp_path: Path):
    rig = Rig(tmp_path, Limits(look=5.0, change=0.2))
    gate = rig.driver.gates["start"] = threading.Event()
    hung = await rig.do(command("h"))
    assert (hung.ok, hung.code) == (False, "timeout")
    waiting = await rig.do(command("w"))
    assert (waiting.ok, waiting.code) == (False, "busy")
    assert len(rig.driver.calls) == 1
    gate.set()
    del rig.driver.gates["start"]
    await rig.until(lambda: VM not in rig.executor._locks or not rig.executor._locks[VM].locked())
    assert (await rig.do(command("again"))).ok


async def test_a_shutdown_may_take_its_grace(tmp_path: Path):
    rig = Rig(tmp_path, Limits(change=0.2))
    gate = rig.driver.gates["shutdown"] = threading.Event()
    await rig.executor.take(command("s", "shutdown", uuid=VM, grace=30.0))
    await rig.until(lambda: rig.driver.calls)
    await asyncio.sleep(0.4)
    assert rig.results() == []
    gate.set()
    await rig.until(rig.results)
    assert rig.results()[0].ok


async def test_a_shutdown_is_broken_off_and_the_next_one_is_not(rig: Rig):
    gate = rig.driver.gates["shutdown"] = threading.Event()
    await rig.executor.take(command("s", "shutdown", uuid=VM, grace=30.0, force=True))
    await rig.until(lambda: rig.driver.calls)
    assert (await rig.do(command("other", "abort_shutdown", uuid=OTHER))).ok
    assert (await rig.do(command("mine", "abort_shutdown", uuid=VM))).ok
    gate.set()
    await rig.until(lambda: rig.results("s"))
    assert (rig.results("s")[0].ok, rig.results("s")[0].code) == (False, "aborted")
    assert (await rig.do(command("late", "abort_shutdown", uuid=VM))).ok
    assert (await rig.do(command("again", "shutdown", uuid=VM, grace=30.0))).ok


async def test_results_wait_while_the_coordinator_is_away(rig: Rig):
    await rig.executor.take(command())
    rig.online = False
    await rig.until(rig.journal.unacknowledged)
    await rig.until(lambda: not rig.executor.busy)
    rig.sent.clear()
    rig.online = True
    await rig.executor.repeat_results()
    assert [r.command for r in rig.results()] == ["c1"]


async def test_after_a_crash_what_ran_is_run_again_even_past_its_deadline(rig: Rig):
    rig.journal.accept(command("ran"), 1.0)
    rig.journal.running("ran")
    rig.journal.accept(command("waiting", uuid=OTHER), 2.0)
    rig.boot()
    rig.clock.heard(5000.0, rig.steady)
    await rig.executor.resume(waiting=False)
    await rig.until(rig.results)
    assert rig.driver.calls == [("start", VM)]
    assert rig.results("ran")[0].ok
    await rig.executor.resume(waiting=True)
    await rig.until(lambda: rig.results("waiting"))
    assert rig.results("waiting")[0].code == "expired"
    assert rig.driver.calls == [("start", VM)]


async def test_after_a_crash_what_waited_in_time_is_done(rig: Rig):
    rig.journal.accept(command("waiting"), 2.0)
    rig.boot()
    rig.clock.heard(1005.0, rig.steady)
    await rig.executor.resume(waiting=True)
    await rig.until(rig.results)
    assert rig.results()[0].ok


async def test_resuming_twice_starts_nothing_twice(rig: Rig):
    rig.journal.accept(migrate(), 1.0)
    rig.journal.running("m1")
    gate = rig.driver.gates["migrate"] = threading.Event()
    await rig.executor.resume(waiting=False)
    await rig.executor.resume(waiting=True)
    await rig.executor.take(migrate())
    gate.set()
    await rig.until(rig.results)
    assert rig.driver.calls == [("migrate", VM)]


async def test_stopping_leaves_the_command_in_the_journal(rig: Rig):
    gate = rig.driver.gates["migrate"] = threading.Event()
    await rig.executor.take(migrate())
    await rig.until(lambda: rig.driver.calls)
    await rig.executor.stop()
    assert [e.state for e in rig.journal.unfinished()] == ["running"]
    gate.set()


async def test_a_journal_that_cannot_be_written_refuses_the_command(rig: Rig):
    rig.journal._db.execute("PRAGMA query_only = ON")
    result = await rig.do(command())
    assert (result.ok, result.code) == (False, "failed")
    assert "nothing was done" in result.error
    assert rig.driver.calls == []
