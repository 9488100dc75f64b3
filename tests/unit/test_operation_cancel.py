"""Cancelling, retrying and keeping operations: the tables agree, roles hold, nothing that is needed goes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from coordinator_rig import ADMIN, ask, join_host, running_core

from hpgreedy.coordinator.access import Caller
from hpgreedy.coordinator.core import Core
from hpgreedy.coordinator.table import TABLE as VERBS
from hpgreedy.operations.again import ROLES
from hpgreedy.operations.context import HISTORY_LIMIT, Context
from hpgreedy.operations.kept import AT_ONCE, Keeping
from hpgreedy.operations.kinds import TABLE
from hpgreedy.operations.records import Meta, OperationRecord, RequestRecord, Step
from hpgreedy.operations.transitions import FIRST, TOO_LATE, TRANSITIONS
from hpgreedy.operations.world import Now, Settings, World

BOB = Caller("b" * 40, "user", "bob")
EVE = Caller("e" * 40, "user", "eve")
VIEWER = Caller("v" * 40, "viewer", "bob")
OPERATOR = Caller("o" * 40, "operator", "olga")
DAY = 86400.0


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    async with running_core(tmp_path) as core:
        join_host(core, 1)
        yield core


@pytest.mark.parametrize("kind", TRANSITIONS)
def test_every_state_can_be_cancelled_or_says_why_not(kind: str) -> None:
    cancellable = set(TABLE[kind].cancel)
    assert cancellable.isdisjoint(TOO_LATE[kind])
    assert cancellable | set(TOO_LATE[kind]) == set(TRANSITIONS[kind])
    reached = {target for targets in TRANSITIONS[kind].values() for target in targets}
    assert ("cancelled" in reached) == bool(cancellable)


def test_a_retry_needs_the_role_that_the_request_needed() -> None:
    asked_by = {"create": "submit", "delete_image": "image.delete"}
    assert set(ROLES) == set(FIRST)
    for kind, role in ROLES.items():
        assert VERBS[asked_by.get(kind, f"vm.{kind}")].role == role


async def test_the_owner_and_operators_may_cancel_and_nobody_else(core: Core) -> None:
    for number, name in ((1, "a"), (2, "b")):
        assert (await ask(core, "submit", f"s{number}", BOB, vms=[{"id": name, "cpu": 1, "memory": 1}])).ok
    for who in (EVE, VIEWER):
        refused = await ask(core, "op.cancel", "c1", who, id=1)
        assert (refused.ok, refused.code) == (False, "forbidden")
        assert (await ask(core, "op.retry", "r1", who, id=1)).code == "forbidden"
    assert core.world.operations[1].state == "provisioning"
    assert (await ask(core, "op.cancel", "c2", BOB, id=1)).ok
    assert (await ask(core, "op.cancel", "c3", OPERATOR, id=2)).ok
    shown = (await ask(core, "op.show", "s3", VIEWER, id=2)).result
    assert (shown["cancelled_by"], shown["state"]) == ("olga", "cleaning")
    assert [step["by"] for step in shown["history"][:2]] == ["bob", "olga"]
    assert (await ask(core, "op.cancel", "c4", BOB, id=99)).code == "not_found"


async def test_a_cancel_is_on_disk_when_it_is_acknowledged_and_is_one_cancel(core: Core) -> None:
    await ask(core, "submit", "s", ADMIN, vms=[{"id": "a", "cpu": 1, "memory": 1}])
    first = await ask(core, "op.cancel", "c", ADMIN, id=1)
    stored = core.committer._store.load()["operation"]["1"]
    assert (stored["cancelled_by"], stored["state"]) == ("root", "cleaning")
    for number in ("c", "d"):
        again = await ask(core, "op.cancel", number, ADMIN, id=1)
        assert again.result["operations"][0]["updated"] == first.result["operations"][0]["updated"]


async def test_a_user_retries_no_migration(core: Core) -> None:
    op = OperationRecord(
        id=7,
        kind="migrate",
        state="failed",
        owner="bob",
        created=1.0,
        updated=1.0,
        vm="a",
        done=True,
        ok=False,
    )
    core.change(lambda ctx: ctx.put_operation(op) and None)
    refused = await ask(core, "op.retry", "r", BOB, id=7)
    assert (refused.code, "needs the role operator" in refused.error) == ("forbidden", True)
    assert (await ask(core, "op.retry", "r", OPERATOR, id=7)).code == "not_found"


def ended(number: int, at: float, **more: object) -> OperationRecord:
    fields = {"kind": "stop", "state": "failed", "owner": "ann", "done": True, "ok": False, **more}
    return OperationRecord(
        id=number,
        created=at,
        updated=at,
        history=(Step(at, "failed"),),
        **fields,  # type: ignore[arg-type]
    )


def kept(world: World, at: float, rounds: int = 1) -> list[int]:
    keeping = Keeping()
    for n in range(rounds):
        keeping.clean(Context(world, Now(wall=at, mono=float(n))))
    return list(world.operations)


def test_operations_go_after_the_days_that_are_set_and_not_while_they_are_needed() -> None:
    world = World(Meta(cluster="c" * 32, next_operation=9), Settings(keep_operations=10.0))
    for number in (1, 2, 3, 4):
        world.operations[number] = ended(number, 0.0)
    world.operations[5] = ended(
        5, 0.0, kind="create", state="making_room", done=False, ok=None, children=(1,), retry_of=2
    )
    world.requests["k"] = RequestRecord(at=10.5 * DAY, operations=(3,))
    assert kept(world, 9.9 * DAY) == [1, 2, 3, 4, 5]
    assert kept(world, 10.6 * DAY) == [1, 2, 3, 5]
    assert kept(world, 11.6 * DAY) == [1, 2, 5]
    assert world.meta.next_operation == 9


def test_a_surplus_goes_in_pieces_oldest_first() -> None:
    world = World(Meta(cluster="c" * 32), Settings(most_operations=10))
    for number in range(1, AT_ONCE + 112):
        world.operations[number] = ended(number, float(number))
    assert len(kept(world, 1.0, rounds=1)) == 111
    for number in range(1, AT_ONCE + 112):
        world.operations[number] = ended(number, float(number))
    assert kept(world, 1.0, rounds=2) == list(range(AT_ONCE + 102, AT_ONCE + 112))


def test_what_is_forgotten_is_dropped_from_the_store_too() -> None:
    world = World(Meta(cluster="c" * 32), Settings())
    world.operations[1] = ended(1, 0.0)
    ctx = Context(world, Now(wall=40 * DAY, mono=0.0))
    Keeping().clean(ctx)
    assert [(change.kind, change.key, change.value) for change in ctx.changes] == [("operation", "1", None)]


def test_a_history_keeps_its_beginning_and_counts_what_repeats() -> None:
    ctx = Context(World(Meta(cluster="c" * 32), Settings()), Now(wall=1.0, mono=1.0), by="ann")
    op = ctx.new_operation("stop", "shutting_down", "ann", why="begun")
    ctx.by = ""
    for _ in range(1000):
        op = ctx.retry(op, "tried again: no")
    assert [(step.note, step.by, step.count) for step in op.history] == [
        ("begun", "ann", 1),
        ("tried again: no", "", 1000),
    ]
    for n in range(1000):
        op = ctx.note(op, f"note {n}")
    assert len(op.history) == HISTORY_LIMIT
    assert (op.history[0].note, op.history[-1].note) == ("begun", "note 999")


def test_waits_between_tries_grow_only_after_many_and_not_beyond_a_minute() -> None:
    ctx = Context(World(Meta(cluster="c" * 32), Settings()), Now(wall=1.0, mono=0.0))
    op = ctx.new_operation("stop", "shutting_down", "ann")
    waits = []
    for _ in range(60):
        op = ctx.retry(op, "no")
        waits.append(ctx.retries[op.id])
    assert set(waits[:31]) == {2.0}
    assert waits[31:36] == [4.0, 8.0, 16.0, 32.0, 60.0]
    assert max(waits) == 60.0
    assert msgspec.structs.asdict(op)["tries"] == 60
