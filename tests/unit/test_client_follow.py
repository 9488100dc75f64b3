"""Following operations, with a clock of our own and answers from a list."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, TypeVar, cast

import pytest
from client_fakes import make_op

from hpgreedy.client.errors import OperationsFailedError, UnreachableError
from hpgreedy.client.follow import (
    POLL_SECONDS,
    SILENCE_SECONDS,
    Follower,
    check,
    check_cancelled,
    describe,
)
from hpgreedy.client.screen import Screen
from protocol.messages import MigrationProgress
from protocol.verbs import Ask, OpShow, OpStep, OpView

T = TypeVar("T")


class Asked:
    def __init__(self, answer: Callable[[int, int], OpView]) -> None:
        self.count: dict[int, int] = {}
        self._answer = answer

    def ask(self, verb: str, args: Ask, kind: type[T]) -> T:
        assert verb == "op.show"
        assert isinstance(args, OpShow)
        self.count[args.id] = self.count.get(args.id, 0) + 1
        return cast(T, self._answer(args.id, self.count[args.id]))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def follow(
    answer: Callable[[int, int], OpView], *ops: OpView, timeout: float | None = None
) -> tuple[tuple[OpView, ...], str, Clock, Asked]:
    clock, out, asked = Clock(), io.StringIO(), Asked(answer)
    screen = Screen(out=out, err=io.StringIO())
    ended = Follower(asked, screen, timeout, clock, clock.sleep).until_done(ops)
    return ended, out.getvalue(), clock, asked


def test_each_state_is_shown_once() -> None:
    states = ["queued", "queued", "provisioning", "provisioning", "starting"]

    def answer(number: int, count: int) -> OpView:
        if count <= len(states):
            return make_op(number, state=states[count - 1], target="host1")
        return make_op(number, state="done", done=True, ok=True, target="host1")

    ended, text, clock, _ = follow(answer, make_op(1, state="queued", target="host1"))
    assert ended[0].ok
    assert text.splitlines() == [
        "web-1: queued on host1",
        "web-1: provisioning on host1",
        "web-1: starting on host1",
        "web-1: running on host1",
    ]
    assert clock.now == pytest.approx(len(states) * POLL_SECONDS)


def test_figures_of_a_migration_come_every_few_seconds_and_then_the_outcome() -> None:
    def answer(number: int, count: int) -> OpView:
        fields: dict[str, Any] = {
            "kind": "migrate",
            "source": "host1",
            "target": "host2",
            "state": "migrating",
        }
        if count > 20:
            outcome = {"total_ms": 5000, "downtime_ms": 120, "transferred": 2**27}
            return make_op(number, **{**fields, "done": True, "ok": True, "outcome": outcome})
        progress = MigrationProgress(total=1000, remaining=1000 - 10 * count, processed=10 * count)
        return make_op(number, **fields, progress=progress)

    _, text, _, _ = follow(answer, make_op(1, "migrate", source="host1", target="host2"))
    lines = text.splitlines()
    assert lines[0] == "web-1 host1 -> host2: queued"
    assert sum("remaining" in line for line in lines) == 3
    assert lines[-1] == "web-1: migrated to host2 in 5.00s, downtime 120ms, 128MiB sent"


def test_many_operations_are_not_all_asked_about_at_once() -> None:
    def answer(number: int, count: int) -> OpView:
        return make_op(number, done=count >= 2, ok=True if count >= 2 else None)

    ops = [make_op(number, vm=f"vm-{number}") for number in range(1, 51)]
    ended, _, clock, asked = follow(answer, *ops)
    assert all(op.done for op in ended)
    assert [op.id for op in ended] == [op.id for op in ops]
    assert sum(asked.count.values()) == 100
    assert clock.now > 0


def test_a_restart_of_the_coordinator_is_waited_for() -> None:
    def answer(number: int, count: int) -> OpView:
        if count < 5:
            raise UnreachableError("no answer")
        return make_op(number, done=True, ok=True)

    ended, _, _, _ = follow(answer, make_op())
    assert ended[0].ok


def test_a_coordinator_that_stays_silent_is_given_up_with_a_hint() -> None:
    def answer(number: int, count: int) -> OpView:
        raise UnreachableError("no answer")

    with pytest.raises(UnreachableError) as caught:
        follow(answer, make_op(4))
    assert "op show 4" in caught.value.message
    assert SILENCE_SECONDS > 60


def test_the_time_allowed_ends_the_watching_and_not_the_operation() -> None:
    ended, _, clock, _ = follow(lambda number, _: make_op(number), make_op(3), timeout=2.0)
    assert not ended[0].done
    assert clock.now == pytest.approx(2.0)
    with pytest.raises(OperationsFailedError) as caught:
        check(ended, 2.0)
    assert "op watch 3" in caught.value.message
    assert caught.value.exit_code == 1


def test_trouble_on_the_way_is_shown_before_the_end() -> None:
    op = make_op(state="cleaning", target="host1", error="the disk is full")
    assert describe(op) == "web-1: cleaning on host1 (the disk is full)"
    ended = make_op(kind="delete_image", vm=None, done=True, ok=True)
    assert describe(ended) == "operation 1: image deleted"


def test_failures_are_told_with_their_reason() -> None:
    bad = make_op(2, vm="db-1", done=True, ok=False, error="the host has no room")
    with pytest.raises(OperationsFailedError) as one:
        check((bad,))
    assert one.value.message == "create of db-1 failed: the host has no room"
    with pytest.raises(OperationsFailedError) as two:
        check((make_op(1, done=True, ok=True), bad))
    assert two.value.message == "1 of 2 operations failed, first db-1: the host has no room"
    assert describe(bad) == "db-1: create failed: the host has no room"
    check((make_op(1, done=True, ok=True),))


def test_a_cancel_is_done_when_the_operation_is_cancelled_and_not_when_it_ended_otherwise() -> None:
    cancelled = make_op(1, state="cancelled", done=True, ok=False, error="ann cancelled it")
    check_cancelled([cancelled])
    assert describe(cancelled) == "web-1: create was cancelled: ann cancelled it"
    with pytest.raises(OperationsFailedError, match="create of web-1 was cancelled: ann cancelled it"):
        check([cancelled])
    step = OpStep(at=1.0, state="completed", note="it had moved before it could be cancelled")
    completed = make_op(2, state="completed", done=True, ok=True, history=(step,))
    with pytest.raises(OperationsFailedError, match="operation 2 was not cancelled, it is completed: it had"):
        check_cancelled([completed])
    with pytest.raises(OperationsFailedError, match="had not ended after 5 s"):
        check_cancelled([make_op(3)], 5)
