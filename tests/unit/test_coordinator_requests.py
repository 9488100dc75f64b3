"""The clients' door against a world in memory: roles, idempotence, refusals that change nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import coordinator_rig
import msgspec
import pytest
from coordinator_rig import ADMIN, join_host, running_core

from hpgreedy.coordinator.access import Caller, Keyring
from hpgreedy.coordinator.answers import KEPT_NUMBER, KEPT_SECONDS, Answers
from hpgreedy.coordinator.core import Core
from hpgreedy.coordinator.table import TABLE
from hpgreedy.model import Claim, Cluster, Demand, cluster_of
from hpgreedy.operations.context import Context, Refusal
from hpgreedy.operations.kinds.migrate import Verdict, verdict
from hpgreedy.operations.records import KeyRecord, Meta
from hpgreedy.operations.world import Now, Settings, World
from hpgreedy.placement import Placed, decide
from protocol.commands import Inspected
from protocol.messages import Capacity, DomainReport, Join, Reply, Report, Usage
from protocol.spec import parse_cluster_file
from protocol.verbs import EXIT_CODES, VERBS

VIEWER = Caller("v" * 40, "viewer", "eve")
USER = Caller("u" * 40, "user", "bob")
VM = {"id": "a", "cpu": 1, "memory": 1}


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    async with running_core(tmp_path) as core:
        join_host(core, 1)
        yield core


async def ask(core: Core, who: Caller, verb: str, number: str = "1", **args: Any) -> Reply:
    return await coordinator_rig.ask(core, verb, number, who, **args)


def test_every_verb_of_the_protocol_is_in_the_table() -> None:
    assert set(TABLE) == set(VERBS)


async def test_the_same_request_id_is_the_same_request(core: Core) -> None:
    first = await ask(core, ADMIN, "submit", "r1", vms=[VM])
    again = await ask(core, ADMIN, "submit", "r1", vms=[VM])
    assert first.ok
    assert [op["id"] for op in again.result["operations"]] == [op["id"] for op in first.result["operations"]]
    other = await ask(core, ADMIN, "submit", "r2", vms=[VM])
    assert (other.ok, other.code) == (False, "exists")
    assert len(core.world.operations) == 1


async def test_a_request_that_was_refused_stays_refused_when_it_comes_again(core: Core) -> None:
    assert (await ask(core, ADMIN, "submit", "r1", vms=[VM])).ok
    refused = await ask(core, ADMIN, "submit", "r2", vms=[VM])
    core.change(lambda ctx: ctx.drop_vm("a"))
    assert await ask(core, ADMIN, "submit", "r2", vms=[VM]) == refused
    assert core.world.vms == {}
    assert (await ask(core, ADMIN, "submit", "r3", vms=[VM])).ok


async def test_another_callers_request_of_the_same_id_is_its_own(core: Core) -> None:
    assert (await ask(core, VIEWER, "submit", "r1", vms=[VM])).code == "forbidden"
    assert (await ask(core, USER, "submit", "r1", vms=[VM])).ok


async def test_a_request_in_hand_is_worked_out_once() -> None:
    answers, gate, runs = Answers(), asyncio.Event(), []

    async def work() -> Reply:
        runs.append(1)
        await gate.wait()
        return Reply(ok=True, result=len(runs))

    now = [0.0]
    asked = [asyncio.create_task(answers.once("k", lambda: now[0], True, work)) for _ in range(3)]
    await asyncio.sleep(0)
    gate.set()
    assert [reply.result for reply in await asyncio.gather(*asked)] == [1, 1, 1]
    now[0] = KEPT_SECONDS
    assert (await answers.once("k", lambda: now[0], True, work)).result == 1
    now[0] = KEPT_SECONDS + 1
    assert (await answers.once("k", lambda: now[0], True, work)).result == 2


async def test_only_so_many_answers_are_kept() -> None:
    answers, runs = Answers(), []

    async def work() -> Reply:
        runs.append(1)
        return Reply(ok=True)

    for number in (*range(KEPT_NUMBER + 2), KEPT_NUMBER + 1, 0):
        await answers.once(str(number), lambda: 0.0, True, work)
    assert len(runs) == KEPT_NUMBER + 3


async def test_a_batch_is_accepted_whole_or_not_at_all(core: Core) -> None:
    reply = await ask(core, ADMIN, "submit", vms=[VM, {"id": "big", "cpu": 1, "memory": 64}])
    assert (reply.ok, reply.code) == (False, "refused")
    assert "the largest that would fit" in reply.error
    assert "nothing was accepted" in reply.error
    assert (core.world.vms, core.world.operations) == ({}, {})


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        ({"vms": [{**VM, "image": "nope"}]}, "bad_request", "an image that does not exist"),
        ({"vms": [VM], "algorithm": "bset_fit"}, "bad_request", "known are best_fit, "),
        ({"vms": [{**VM, "color": 1}]}, "bad_request", 'unknown field "color"'),
        ({"vms": [VM, VM]}, "bad_request", "for the second time"),
        ({"vms": [{**VM, "host": "nope"}]}, "not_found", "no such host; known: h1"),
        ({"vms": [{**VM, "kernel": {}}]}, "bad_request", "no image is given"),
        ({"vms": []}, "bad_request", "vms"),
        (
            {"vms": [{**VM, "cpu": 0}]},
            "bad_request",
            "vms[0].cpu is 0; it must be a whole number of at least 1",
        ),
        ({"vms": [{**VM, "memory": 0}]}, "bad_request", "between 1 MiB and"),
        ({"vms": [VM], "extra": 1}, "bad_request", 'unknown field "extra"'),
    ],
)
async def test_bad_submissions_change_nothing(core: Core, args: Any, code: str, words: str) -> None:
    reply = await ask(core, ADMIN, "submit", **args)
    assert (reply.ok, reply.code) == (False, code)
    assert words in reply.error
    assert code in EXIT_CODES
    assert (core.world.vms, core.world.operations) == ({}, {})


async def test_chance_is_drawn_from_the_operations_number(core: Core) -> None:
    join_host(core, 2)
    vms = [{**VM, "id": f"v{n}"} for n in range(4)]
    before = core.world.cluster(core.now())
    assert (await ask(core, ADMIN, "submit", "r", vms=vms, algorithm="epsilon_greedy")).ok
    assert [vm.made_by for vm in core.world.vms.values()] == [1, 2, 3, 4]
    for vm in core.world.vms.values():
        again = decide(before, Demand.of_spec(vm.spec), "epsilon_greedy", seed=vm.made_by)
        assert isinstance(again, Placed)
        assert (vm.host, vm.why_here) == (again.host, again.why)
        before = before.with_claim(Claim(demand=Demand.of_spec(vm.spec), host=again.host))


async def test_next_fit_goes_on_from_the_last_vm_in_a_batch_and_between_requests(core: Core) -> None:
    join_host(core, 2)
    join_host(core, 3)
    for number, names in enumerate(("ab", "c", "d")):
        vms = [{**VM, "id": name} for name in names]
        assert (await ask(core, ADMIN, "submit", f"r{number}", vms=vms, algorithm="next_fit")).ok
    assert {key: vm.host for key, vm in core.world.vms.items()} == {
        "a": "h1",
        "b": "h2",
        "c": "h3",
        "d": "h1",
    }


async def exported(core: Core) -> tuple[dict[str, Any], Cluster, list[str]]:
    reply = await ask(core, VIEWER, "export")
    cluster, waiting = cluster_of(parse_cluster_file(reply.result, simulation=True))
    return reply.result, cluster, [demand.key for demand in waiting]


async def test_an_export_is_the_cluster_as_a_cluster_file(core: Core) -> None:
    join_host(core, 2)
    capacity = Capacity(
        cpus=4, memory_mib=4096, cpu_overcommit=2.5, memory_overcommit=1.5, resources={"gpu": 2}
    )
    core.apply(
        core.engine.host_report(core.now(), "h1", Report(seq=2, at=0, capacity=capacity, usage=Usage()))
    )
    whole = {
        **VM, "id": 7, "host": "h1", "memory": "1536MiB", "resources": {"gpu": 1}, "labels": {"a": "b"},
        "pinned": True, "nics": [{"bridge": "br0"}],
    }  # fmt: skip
    for name in ("h1", "h2"):
        record = core.world.hosts[name]
        labels = {"rack": "a", "no name!": "x"}
        hello = msgspec.structs.replace(record.hello, bridges=("br0",), labels=labels)
        core.world.hosts[name] = msgspec.structs.replace(record, hello=hello, draining=name == "h2")
    secret = {**VM, "id": "b", "cloud_init": {"user_data": "password: x"}}
    assert (await ask(core, ADMIN, "submit", "r", vms=[whole, secret])).ok
    found, cluster, waiting = await exported(core)
    assert waiting == []
    assert found["vms"] == [
        {**whole, "memory": 1.5},
        {**VM, "id": "b", "host": "h1"},
    ]
    assert found["hosts"] == [
        {
            "id": "h1", "cpu": 4, "memory": 4, "labels": {"rack": "a"}, "resources": {"gpu": 2},
            "cpu_overcommit": 2.5, "memory_overcommit": 1.5, "reserve_memory": 0,
            "networks": [], "bridges": ["br0"], "pools": [],
        },
        {
            "id": "h2", "cpu": 4, "memory": 4, "labels": {"rack": "a"}, "state": "draining",
            "cpu_overcommit": 1.0, "memory_overcommit": 1.0, "reserve_memory": 0,
            "networks": [], "bridges": ["br0"], "pools": [],
        },
    ]  # fmt: skip
    live = core.world.cluster(core.now())
    for name in ("h1", "h2"):
        assert cluster.used(name) == live.used(name)
        assert cluster.hosts[name].cpu_capacity == live.hosts[name].cpu_capacity
        assert cluster.hosts[name].memory_capacity == live.hosts[name].memory_capacity


async def test_an_exported_host_that_is_silent_takes_nothing(core: Core) -> None:
    core.world.live.clear()
    found, cluster, _ = await exported(core)
    assert found["hosts"][0]["state"] == "down"
    assert not isinstance(decide(cluster, Demand(key="new", cpu=1, memory=1)), Placed)


async def test_a_vm_that_waits_for_room_is_exported_without_a_host(core: Core) -> None:
    join_host(core, 2)
    small = [{**VM, "id": "a", "memory": 1, "host": "h1"}, {**VM, "id": "c", "memory": 2, "host": "h2"}]
    assert (await ask(core, ADMIN, "submit", "r1", vms=small)).ok
    for vm in list(core.world.vms.values()):
        domain = DomainReport(uuid=vm.uuid, name=vm.key, state="running", ours=True)
        record = core.world.hosts[vm.host or ""]
        report = Report(seq=2, at=0, capacity=record.hello.capacity, usage=Usage(), domains=(domain,))
        core.world.vms[vm.key] = msgspec.structs.replace(vm, operation=None, made=True)
        core.apply(core.engine.host_report(core.now(), record.name, report))
    assert (await ask(core, ADMIN, "submit", "r2", vms=[{**VM, "id": "big", "memory": 4}])).ok
    assert [op.kind for op in core.world.operations.values()] == ["create", "create", "create", "migrate"]
    found, cluster, waiting = await exported(core)
    assert waiting == ["big"]
    assert {vm["id"]: vm.get("host") for vm in found["vms"]} == {"a": "h1", "c": "h2", "big": None}
    answer = decide(cluster, Demand(key="big", cpu=1, memory=4096))
    assert isinstance(answer, Placed)
    assert answer.moves


async def test_roles_are_a_ladder_and_users_touch_their_own(core: Core) -> None:
    assert (await ask(core, VIEWER, "vm.list")).ok
    assert (await ask(core, VIEWER, "submit", vms=[VM])).code == "forbidden"
    assert (await ask(core, USER, "token.create", role="agent")).code == "forbidden"
    assert (await ask(core, ADMIN, "submit", "x", vms=[VM])).ok
    assert (await ask(core, USER, "vm.delete", id="a")).code == "forbidden"
    assert (await ask(core, Caller("h" * 40, "agent", "h1"), "vm.list")).code == "forbidden"
    assert core.refused["forbidden"] == 4


async def test_consoles_and_seeds_are_for_those_who_may_change_the_vm(core: Core) -> None:
    secret = {**VM, "cloud_init": {"user_data": "#cloud-config\npassword: x"}}
    assert (await ask(core, ADMIN, "submit", vms=[secret])).ok
    assert "cloud_init" in (await ask(core, ADMIN, "vm.show", id="a")).result["spec"]
    assert "cloud_init" not in (await ask(core, VIEWER, "vm.show", id="a")).result["spec"]
    assert (await ask(core, USER, "vm.console_log", id="a")).code == "forbidden"


async def test_an_unknown_verb_lists_the_known_ones(core: Core) -> None:
    reply = await ask(core, ADMIN, "vm.explode")
    assert reply.code == "bad_request"
    assert "vm.list" in reply.error


async def test_an_event_that_fails_half_way_leaves_every_record_as_it_was(core: Core) -> None:
    assert (await ask(core, ADMIN, "submit", "r1", vms=[VM])).ok
    world = core.world
    before = (dict(world.vms), dict(world.operations), dict(world.open), world.meta, dict(world.keys))

    def act(ctx: Context) -> None:
        op = ctx.new_operation("start", "starting", "ann", vm="a")
        ctx.put_vm(msgspec.structs.replace(world.vms["a"], operation=op.id))
        ctx.drop_vm("a")
        ctx.put_key(KeyRecord(public_key="x" * 40, role="admin", name="x", created=0.0))
        raise RuntimeError("a fault of ours")

    with pytest.raises(RuntimeError):
        core.change(act)
    assert (world.vms, world.operations, world.open, world.meta, world.keys) == before


async def test_requests_are_forgotten_after_a_day(core: Core) -> None:
    assert (await ask(core, ADMIN, "submit", "r1", vms=[VM])).ok
    now = core.now()
    core.apply(core.engine.tick(now))
    assert len(core.world.requests) == 1
    core.apply(core.engine.tick(Now(now.wall + 90_000, now.mono + 90_000)))
    assert core.world.requests == {}


def keyring(now: list[float]) -> tuple[Keyring, Context]:
    world = World(Meta(cluster="ab" * 16), Settings())
    return Keyring(world, lambda: now[0]), Context(world, Now(0.0, 0.0))


def test_a_token_is_good_for_one_join_of_its_role_until_it_expires() -> None:
    now = [1000.0]
    ring, ctx = keyring(now)
    token, expires = ring.create_token(ctx, "s" * 40, "agent", "", 60)
    assert expires == 1060.0
    assert ring.admit(token.public)
    assert ring.caller(token.public) is None, "a one-time key may only join"
    with pytest.raises(Refusal, match="for the role agent, not admin"):
        ring.join(ctx, token.public, Join(role="admin", name="x", public_key="n" * 40))
    join = Join(role="agent", name="h9", public_key="n" * 40)
    assert ring.join(ctx, token.public, join) == "h9"
    assert ring.join(ctx, token.public, join) == "h9", "a repeated join is the same join"
    assert not ring.admit(token.public)
    with pytest.raises(Refusal, match="used or has expired"):
        ring.join(ctx, token.public, Join(role="agent", name="h8", public_key="m" * 40))
    late, _ = ring.create_token(ctx, "s" * 40, "agent", "", 60)
    now[0] += 61
    assert not ring.admit(late.public)
    with pytest.raises(Refusal, match="used or has expired"):
        ring.join(ctx, late.public, Join(role="agent", name="h7", public_key="o" * 40))


def test_a_join_takes_no_name_and_no_key_of_somebody_else() -> None:
    ring, ctx = keyring([1000.0])
    ctx.put_key(KeyRecord(public_key="a" * 40, role="admin", name="local-admin", created=0.0))
    ctx.put_key(KeyRecord(public_key="g" * 40, role="agent", name="h1", created=0.0))
    token, _ = ring.create_token(ctx, "s" * 40, "user", "", 60)
    with pytest.raises(Refusal, match="which another key has"):
        ring.join(ctx, token.public, Join(role="user", name="local-admin", public_key="n" * 40))
    for key in ("a" * 40, "g" * 40):
        with pytest.raises(Refusal, match="known already"):
            ring.join(ctx, token.public, Join(role="user", name="bob", public_key=key))
    assert ring.join(ctx, token.public, Join(role="user", name="bob", public_key="n" * 40)) == "bob"
    made_out, _ = ring.create_token(ctx, "s" * 40, "user", "bob", 60)
    assert ring.join(ctx, made_out.public, Join(role="user", name="x", public_key="m" * 40)) == "bob"


def seen(state: str | None, job: bool = False) -> Inspected:
    persistent = state not in (None, "incoming")
    return Inspected(present=state is not None, state=state, persistent=persistent, job=job)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "target", "found"),
    [
        (seen("running", job=True), seen("incoming"), Verdict.FOLLOW),
        (seen("paused", job=True), seen("running"), Verdict.FOLLOW),
        (seen(None), seen("running"), Verdict.AT_TARGET),
        (seen("paused"), seen("running"), Verdict.AT_TARGET),
        (seen("shutoff"), seen("running"), Verdict.AT_TARGET),
        (seen("running"), seen(None), Verdict.AT_SOURCE),
        (seen("running"), seen("incoming"), Verdict.AT_SOURCE),
        (seen("running"), seen("shutoff"), Verdict.AT_SOURCE),
        (seen("running"), seen("running"), Verdict.BOTH),
        (seen("paused"), seen("paused"), Verdict.HAND_OVER),
        (seen("paused"), seen(None), Verdict.HAND_OVER),
        (seen(None), seen("incoming"), Verdict.HAND_OVER),
        (seen(None), seen("shutoff"), Verdict.AT_TARGET),
        (seen(None), seen("paused"), Verdict.AT_TARGET),
        (seen("shutoff"), seen(None), Verdict.STOPPED_AT_SOURCE),
        (seen("crashed"), seen("shutoff"), Verdict.STOPPED_AT_SOURCE),
        (seen(None), seen(None), Verdict.NOWHERE),
    ],
)
def test_verdict(source: Inspected, target: Inspected, found: Verdict) -> None:
    assert verdict(source, target) is found


STANDS = Inspected(present=True, state="paused", persistent=True, handed_over=True)


@pytest.mark.parametrize(
    ("source", "target", "held", "found"),
    [
        (STANDS, seen("paused"), True, Verdict.AT_TARGET),
        (STANDS, seen("paused"), False, Verdict.HAND_OVER),
        (STANDS, seen("incoming"), True, Verdict.HAND_OVER),
        (seen("paused"), seen("paused"), True, Verdict.HAND_OVER),
        (seen("running"), seen("paused"), True, Verdict.AT_SOURCE),
        (seen(None), seen("paused"), True, Verdict.AT_TARGET),
    ],
)
def test_verdict_on_one_that_was_held(
    source: Inspected, target: Inspected, held: bool, found: Verdict
) -> None:
    assert verdict(source, target, held) is found
