"""A whole agent in this process, on a simulated hypervisor, against a coordinator of few words."""

import asyncio
import contextlib
import hashlib
import os
import signal
import uuid
from pathlib import Path

import msgspec
import pytest
from agent_rig import FakeCoordinator

from agent.errors import AgentError
from agent.main import serve
from agent.ports import DriverSettings
from agent.settings import AgentSettings
from protocol.messages import (
    CommandResult,
    DomainEvent,
    Goodbye,
    Hello,
    ImageRead,
    Join,
    Refused,
    Report,
)
from protocol.transport.access import PeerAccess

CONTENT = bytes(range(251)) * 4000
IMAGE = {
    "name": "tiny",
    "files": [{"role": "disk", "size": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}],
}
STAMP = {"operation": "1", "owner": "o", "cluster": "c"}


def plan(name: str, vm: str, image: dict | None = None) -> dict:
    spec = {"id": name, "cpu": 1, "memory": "64MiB", "nics": []}
    found = {"spec": spec, "uuid": vm, "macs": [], "max_cpu": 1, "max_memory_mib": 64, "stamp": STAMP}
    return found if image is None else {**found, "image": image}


def settings_for(tmp_path: Path, coordinator: FakeCoordinator, name: str = "h1", **changes) -> AgentSettings:
    state = tmp_path / name
    driver = DriverSettings(
        hypervisor=f"simulated://{tmp_path / 'world'}?cpus=4&memory=16&numa=2",
        address="127.0.0.1",
        state=state,
        offer_cpu="Nehalem",
    )
    settings = AgentSettings(
        coordinator="127.0.0.1",
        port=coordinator.port,
        memory_mib=8192,
        state=state,
        state_root=tmp_path / "root",
        driver=driver,
        name=name,
        labels={"rack": "r1"},
    )
    return msgspec.structs.replace(settings, **changes)


class Agent:
    def __init__(self, settings: AgentSettings) -> None:
        self.settings = settings
        self.task = asyncio.create_task(serve(settings))

    @property
    def down(self) -> Path:
        world = Path(self.settings.driver.hypervisor.removeprefix("simulated://").split("?")[0])
        return world / "hosts" / (self.settings.state / "simulated-host").read_text() / "down"

    async def kill(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


@pytest.fixture
async def coordinator(tmp_path: Path):
    found = await FakeCoordinator().start()
    found.leave_local_access(tmp_path / "root")
    yield found
    await found.close()


@pytest.fixture
async def agent(tmp_path: Path, coordinator: FakeCoordinator):
    found = Agent(settings_for(tmp_path, coordinator))
    await coordinator.until(lambda: found.task.done() or coordinator.of(Report))
    yield found
    await found.kill()


async def test_it_joins_says_hello_and_reports(coordinator: FakeCoordinator, agent: Agent):
    (join,) = coordinator.of(Join)
    hello = coordinator.of(Hello)[0]
    assert (join.role, join.name) == ("agent", "h1")
    assert (hello.name, hello.labels, hello.accelerator.kind) == ("h1", {"rack": "r1"}, "simulated")
    assert (hello.capacity.cpus, hello.capacity.memory_mib) == (4, 8192)
    assert hello.pools
    assert hello.migrate_uri.startswith("simulated:///")
    assert (hello.cpu_models, hello.offer_cpu) == (("Conroe", "Penryn", "Nehalem"), "Nehalem")
    assert [(node.node, node.cpuset, node.memory_mib) for node in hello.numa] == [
        (0, "0-1", 8192),
        (1, "2-3", 8192),
    ]
    await coordinator.until(lambda: len(coordinator.of(Report)) >= 3)
    reports = coordinator.of(Report)
    assert [r.seq for r in reports[:3]] == [1, 2, 3]
    assert all(r.hypervisor_up for r in reports)


async def test_commands_events_and_reports_of_a_vm(coordinator: FakeCoordinator, agent: Agent):
    vm = str(uuid.uuid4())
    assert (await coordinator.do("h1", "c1", "provision", plan=plan("vm1", vm))).ok
    assert (await coordinator.do("h1", "c2", "start", uuid=vm)).ok
    await coordinator.until(lambda: any(e.state == "running" for e in coordinator.of(DomainEvent)))
    report = await coordinator.until(
        lambda: next(
            (r for r in coordinator.of(Report) if r.domains and r.domains[0].state == "running"), None
        )
    )
    assert (report.domains[0].uuid, report.domains[0].ours) == (vm, True)
    inspected = await coordinator.do("h1", "c3", "inspect", uuid=vm)
    assert inspected.data["state"] == "running"


async def test_it_fetches_images_from_the_coordinator(coordinator: FakeCoordinator, agent: Agent):
    coordinator.content = CONTENT
    result = await coordinator.do("h1", "c1", "provision", plan=plan("vm1", str(uuid.uuid4()), IMAGE))
    assert result.ok, result.error
    reads = coordinator.of(ImageRead)
    assert sum(r.length for r in reads) == len(CONTENT)
    assert max(r.length for r in reads) <= 256 * 1024


async def test_a_damaged_image_and_a_missing_one_fail_the_command(coordinator: FakeCoordinator, agent: Agent):
    coordinator.content = b"x" * len(CONTENT)
    damaged = await coordinator.do("h1", "c1", "fetch_image", image=IMAGE)
    assert "wrong checksum" in damaged.error
    coordinator.answer = lambda m: (
        Refused(code="not_found", reason="no such image") if isinstance(m, ImageRead) else None
    )
    missing = await coordinator.do("h1", "c2", "fetch_image", image=IMAGE)
    assert "no such image" in missing.error


async def test_a_result_is_repeated_until_it_is_acknowledged(coordinator: FakeCoordinator, agent: Agent):
    coordinator.acknowledge = False
    await coordinator.command("h1", "c1", "inspect", uuid=str(uuid.uuid4()))
    await coordinator.until(lambda: len(coordinator.of(CommandResult)) >= 2)
    coordinator.acknowledge = True
    count = len(coordinator.of(CommandResult))
    await coordinator.until(lambda: len(coordinator.of(CommandResult)) > count)
    settled = len(coordinator.of(CommandResult))
    await coordinator.do("h1", "c2", "inspect", uuid=str(uuid.uuid4()))
    assert len(coordinator.of(CommandResult)) == settled + 1


async def test_it_says_hello_again_when_the_coordinator_has_forgotten_it(
    coordinator: FakeCoordinator, agent: Agent
):
    before = len(coordinator.of(Hello))
    await coordinator.tell("h1", Refused(code="hello_first", reason="who are you"))
    await coordinator.until(lambda: len(coordinator.of(Hello)) > before)


async def test_it_connects_anew_to_a_coordinator_that_fell_silent(coordinator: FakeCoordinator, agent: Agent):
    first_peer = coordinator.peers["h1"]
    coordinator.mute = True
    await coordinator.until(lambda: coordinator.peers["h1"] != first_peer)
    coordinator.mute = False
    count = len(coordinator.of(Report))
    await coordinator.until(lambda: len(coordinator.of(Report)) > count + 1)


async def test_it_finds_a_coordinator_that_was_restarted_and_keeps_its_identity(
    coordinator: FakeCoordinator, agent: Agent, tmp_path: Path
):
    hello = coordinator.of(Hello)[0]
    await coordinator.close()
    again = await FakeCoordinator(coordinator.port, coordinator.keys, coordinator.admitted).start()
    again.epoch = 7
    await again.until(lambda: again.of(Hello) and again.of(Report, "h1"))
    back = again.of(Hello)[0]
    assert (back.host_id, back.boot_id, back.hypervisor_uuid) == (
        hello.host_id,
        hello.boot_id,
        hello.hypervisor_uuid,
    )
    stale = await again.do("h1", "old", "inspect", epoch=3, uuid=str(uuid.uuid4()))
    assert stale.code == "stale_epoch"
    await agent.kill()
    restarted = Agent(agent.settings)
    later = await again.until(lambda: next((h for h in again.of(Hello) if h.boot_id != hello.boot_id), None))
    assert (later.host_id, later.highest_epoch) == (hello.host_id, 7)
    assert again.of(Join) == []
    await restarted.kill()
    await again.close()
    await coordinator.start()


async def test_it_goes_on_without_its_hypervisor(coordinator: FakeCoordinator, agent: Agent):
    vm = str(uuid.uuid4())
    await coordinator.do("h1", "c1", "provision", plan=plan("vm1", vm))
    await coordinator.until(lambda: coordinator.of(Report)[-1].domains)
    agent.down.touch()
    away = await coordinator.until(
        lambda: next((r for r in coordinator.of(Report) if not r.hypervisor_up), None)
    )
    assert away.problem
    assert [d.uuid for d in away.domains] == [vm]
    assert (await coordinator.do("h1", "c2", "start", uuid=vm)).code == "hypervisor_down"
    agent.down.unlink()
    await coordinator.until(lambda: coordinator.of(Report)[-1].hypervisor_up)
    assert (await coordinator.do("h1", "c3", "start", uuid=vm)).ok


@pytest.mark.parametrize("code", ["join", "duplicate_hypervisor", "name_taken"])
async def test_a_coordinator_that_will_never_take_it_ends_it(
    coordinator: FakeCoordinator, tmp_path: Path, code: str
):
    coordinator.answer = lambda m: Refused(code=code, reason="not you") if isinstance(m, Hello) else None
    with pytest.raises(AgentError, match="does not take this host: not you") as caught:
        await asyncio.wait_for(serve(settings_for(tmp_path, coordinator)), 20)
    assert caught.value.exit_code == 1


async def test_another_refusal_does_not_end_it(coordinator: FakeCoordinator, agent: Agent):
    await coordinator.tell("h1", Refused(code="unreadable", reason="pardon"))
    count = len(coordinator.of(Report))
    await coordinator.until(lambda: len(coordinator.of(Report)) > count + 1)


async def test_two_agents_cannot_share_a_state_folder(coordinator: FakeCoordinator, agent: Agent):
    with pytest.raises(AgentError, match="another agent uses the state folder"):
        await serve(agent.settings)


async def test_two_agents_on_one_address_with_own_state_are_two_hosts(
    coordinator: FakeCoordinator, agent: Agent, tmp_path: Path
):
    second = Agent(settings_for(tmp_path, coordinator, "h2"))
    await coordinator.until(lambda: coordinator.of(Report, "h2"))
    one, two = coordinator.of(Hello, "h1")[0], coordinator.of(Hello, "h2")[0]
    assert one.host_id != two.host_id
    assert one.hypervisor_uuid != two.hypervisor_uuid
    await second.kill()


async def test_an_absent_hypervisor_ends_the_start_unless_it_is_to_wait(
    coordinator: FakeCoordinator, agent: Agent
):
    await agent.kill()
    agent.down.touch()
    with pytest.raises(AgentError, match="cannot be used: the simulated hypervisor is away") as caught:
        await serve(agent.settings)
    assert caught.value.exit_code == 2
    count = len(coordinator.of(Hello))
    waiting = Agent(msgspec.structs.replace(agent.settings, wait_hypervisor=True))
    await asyncio.sleep(0.3)
    assert not waiting.task.done()
    agent.down.unlink()
    await coordinator.until(lambda: len(coordinator.of(Hello)) > count)
    await waiting.kill()


async def test_a_token_joins_once_and_later_starts_need_none(tmp_path: Path):
    coordinator = await FakeCoordinator().start()
    settings = settings_for(tmp_path, coordinator, join=coordinator.token())
    first = Agent(settings)
    await coordinator.until(lambda: coordinator.of(Report))
    await first.kill()
    for again in (settings, msgspec.structs.replace(settings, join="")):
        coordinator.seen.clear()
        agent = Agent(again)
        await coordinator.until(lambda: coordinator.of(Report))
        assert coordinator.of(Join) == []
        await agent.kill()
    assert PeerAccess.load(settings.state / "access.json").cluster == "c"
    await coordinator.close()


async def test_a_join_whose_answer_was_lost_is_found_to_have_worked(tmp_path: Path):
    coordinator = await FakeCoordinator().start()
    settings = settings_for(tmp_path, coordinator, join=coordinator.token())
    first = Agent(settings)
    await coordinator.until(lambda: coordinator.of(Report))
    await first.kill()
    (settings.state / "access.json").unlink()
    coordinator.seen.clear()
    again = Agent(settings)
    await coordinator.until(lambda: coordinator.of(Report), 40)
    await again.kill()
    await coordinator.close()


async def test_without_any_way_in_it_says_how_to_get_one(tmp_path: Path):
    coordinator = await FakeCoordinator().start()
    with pytest.raises(AgentError, match="--join TOKEN"):
        await serve(settings_for(tmp_path, coordinator))
    await coordinator.close()


async def test_a_wrong_port_on_the_head_node_is_named(coordinator: FakeCoordinator, tmp_path: Path):
    settings = settings_for(tmp_path, coordinator, port=coordinator.port - 1)
    with pytest.raises(AgentError, match=f"listens on {coordinator.port}"):
        await serve(settings)


async def test_a_head_node_made_anew_is_joined_anew(
    coordinator: FakeCoordinator, agent: Agent, tmp_path: Path
):
    await agent.kill()
    await coordinator.close()
    fresh = await FakeCoordinator(coordinator.port).start()
    fresh.leave_local_access(tmp_path / "root")
    again = Agent(agent.settings)
    await fresh.until(lambda: fresh.of(Report))
    assert len(fresh.of(Join)) == 1
    assert fresh.of(Hello)[0].host_id == coordinator.of(Hello)[0].host_id
    await again.kill()
    await fresh.close()
    await coordinator.start()


async def test_nothing_listening_ends_a_join_with_a_hint(
    coordinator: FakeCoordinator, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr("protocol.transport.joining.join.__kwdefaults__", {"timeout": 0.3})
    settings = settings_for(tmp_path, coordinator)
    await coordinator.close()
    with pytest.raises(AgentError, match="nothing listens there"):
        await serve(settings)
    await coordinator.start()


async def test_a_stop_says_goodbye(coordinator: FakeCoordinator, agent: Agent):
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(agent.task, 20)
    await coordinator.until(lambda: coordinator.of(Goodbye, "h1"))
