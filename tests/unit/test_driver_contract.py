"""The simulated driver keeps the drivers' contract, and what only it can show: slow moves, crashes."""

import hashlib
import json
import threading
import uuid
from pathlib import Path

import pytest

from agent.drivers.simulated import SimulatedDriver
from agent.drivers.simulated.uri import is_simulated, parse_uri
from agent.ports import DriverSettings
from protocol.commands import CommandError, Migrate
from protocol.spec import ImageFile, ImageManifest, Memory, VmSpec
from tests.contracts.driver_contract import Bench, DriverContract, Side, code_of, ignore, report_of, until

CONTENT = bytes(range(256)) * 2100
IMAGE = ImageManifest(
    name="tiny",
    files=(
        ImageFile(role="disk", size=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest(), format="raw"),
    ),
)


def read(_name: str, _file: ImageFile, offset: int, length: int) -> bytes:
    return CONTENT[offset : offset + length]


def side(tmp_path: Path, name: str, query: str = "") -> Side:
    settings = DriverSettings(
        hypervisor=f"simulated://{tmp_path / 'world'}{query}",
        address="127.0.0.1",
        state=tmp_path / name,
        host_name=name,
    )
    driver = SimulatedDriver(settings)
    events: list = []
    facts = driver.connect(events.append, lambda _reason: None)
    return Side(driver, facts, events)


@pytest.fixture
def bench(tmp_path: Path):
    here, there = side(tmp_path, "here"), side(tmp_path, "there")

    def foreign(name: str) -> str:
        number = str(uuid.uuid4())
        folder = Path(here.facts.migrate_uri.removeprefix("simulated://")) / "domains"
        record = {"uuid": number, "name": name, "state": "running", "cpus": 2, "memory_mib": 512}
        (folder / f"{number}.json").write_text(json.dumps({**record, "max_memory_mib": 512}))
        return number

    yield Bench(here, there, IMAGE, read, foreign)
    here.driver.close()
    there.driver.close()


class TestSimulatedDriver(DriverContract):
    pass


def slow_plan(bench: Bench, mib: int = 64 * 1024, **labels: str):
    spec = VmSpec(
        id=f"slow-{uuid.uuid4().hex[:6]}",
        cpu=1,
        memory=Memory(mib),
        image="tiny",
        labels={f"simulated.{k}": v for k, v in labels.items()},
    )
    return bench.plan(spec=spec)


def in_background(call):
    outcome: list = []

    def work() -> None:
        try:
            outcome.append(call())
        except CommandError as error:
            outcome.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread, outcome


def test_an_aborted_migration_leaves_the_vm_here(bench: Bench):
    plan, order = bench.ready_to_move(slow_plan(bench))
    seen: list = []
    thread, outcome = in_background(lambda: bench.here.driver.mover.migrate(order, seen.append))
    until(lambda: bench.here.driver.runtime.inspect(plan.uuid).job, 5)
    until(lambda: seen, 5)
    bench.here.driver.mover.abort(plan.uuid)
    thread.join(10)
    assert outcome[0].code == "aborted"
    found = bench.here.driver.runtime.inspect(plan.uuid)
    assert (found.state, found.job) == ("running", False)
    assert report_of(bench.there, plan.uuid) is None
    assert 0 <= seen[0].processed <= seen[0].total == 64 * 1024**3


def test_a_second_call_follows_the_running_migration(bench: Bench):
    plan, order = bench.ready_to_move(slow_plan(bench, 4096))
    first, one = in_background(lambda: bench.here.driver.mover.migrate(order, ignore))
    until(lambda: bench.here.driver.runtime.inspect(plan.uuid).job, 5)
    second, two = in_background(lambda: bench.here.driver.mover.migrate(order, ignore))
    first.join(20)
    second.join(20)
    assert one == two
    assert one[0].transferred == 4096 * 1024**2


def test_a_migration_outlives_the_agent_that_began_it(bench: Bench, tmp_path: Path):
    plan, order = bench.ready_to_move(slow_plan(bench, 4096))
    here = bench.here.driver
    in_background(lambda: here.mover.migrate(order, ignore))
    until(lambda: here.runtime.inspect(plan.uuid).job, 5)
    here.close()
    here.host.sleep = lambda _seconds: threading.Event().wait()  # the old agent is dead from here on
    until(lambda: report_of(bench.there, plan.uuid) is not None, 20)
    again = side(tmp_path, "here")
    assert again.facts.hypervisor_uuid == bench.here.facts.hypervisor_uuid
    assert not again.driver.runtime.inspect(plan.uuid).present
    again.driver.close()


def test_a_guest_keeps_its_start_through_a_migration(bench: Bench):
    plan, order = bench.ready_to_move()
    first = bench.here.driver.runtime.console_log(plan.uuid, plan.spec.key, 4096).text.splitlines()[0]
    bench.here.driver.mover.migrate(order, ignore)
    after = bench.there.driver.runtime.console_log(plan.uuid, plan.spec.key, 4096).text.splitlines()[0]
    assert first == after
    assert first.startswith("hpg-guest: booted start_id=")


def test_it_counts_seconds_on_its_console(bench: Bench):
    plan = bench.running()
    host = bench.here.driver.host
    begun = host.clock()
    host.clock = lambda: begun + 3.5
    text = bench.here.driver.runtime.console_log(plan.uuid, plan.spec.key, 4096).text
    assert text.splitlines()[1:] == [f"hpg-guest: count={n}" for n in (1, 2, 3)]


def test_a_vm_that_runs_elsewhere_does_not_start_a_second_time(bench: Bench):
    plan, order = bench.ready_to_move()
    bench.here.driver.mover.migrate(order, ignore)
    bench.here.driver.runtime.provision(plan)
    assert code_of(lambda: bench.here.driver.runtime.start(plan.uuid)) == "busy"


def test_disks_that_are_not_shared_must_be_copied(bench: Bench):
    plan, order = bench.ready_to_move()
    plain = Migrate(uuid=plan.uuid, target_uri=order.target_uri, target_address="a", copy=False)
    assert code_of(lambda: bench.here.driver.mover.migrate(plain, ignore)) == "failed"
    bench.there.driver.runtime.remove(plan.uuid, True)
    assert code_of(lambda: bench.here.driver.mover.migrate(order, ignore)) == "failed"
    assert bench.here.driver.runtime.inspect(plan.uuid).state == "running"


def test_shared_disks_move_without_a_copy(tmp_path: Path):
    here, there = side(tmp_path, "a", "?storage=shared"), side(tmp_path, "b", "?storage=shared")
    bench = Bench(here, there, IMAGE, read, lambda name: name)
    assert here.driver.images.pools()[0].storage_id == there.driver.images.pools()[0].storage_id
    plan = bench.running()
    there.driver.mover.prepare(plan, False)
    order = Migrate(
        uuid=plan.uuid, target_uri=there.facts.migrate_uri, target_address="127.0.0.1", copy=False
    )
    here.driver.mover.migrate(order, ignore)
    assert report_of(there, plan.uuid).state == "running"
    here.driver.close()
    there.driver.close()


@pytest.mark.parametrize(("label", "value"), [("start", "fail"), ("migrate", "fail"), ("shutdown", "ignore")])
def test_guests_can_be_told_to_misbehave(bench: Bench, label: str, value: str):
    plan = bench.provisioned(slow_plan(bench, 64, **{label: value}))
    runtime = bench.here.driver.runtime
    if label == "start":
        assert code_of(lambda: runtime.start(plan.uuid)) == "failed"
        assert runtime.inspect(plan.uuid).state == "shutoff"
        return
    runtime.start(plan.uuid)
    if label == "shutdown":
        assert code_of(lambda: runtime.shutdown(plan.uuid, 0.3, False)) == "timeout"
        assert runtime.inspect(plan.uuid).state == "running"
        runtime.shutdown(plan.uuid, 0.3, True)
        assert runtime.inspect(plan.uuid).state == "shutoff"
    else:
        order = Migrate(
            uuid=plan.uuid, target_uri=bench.there.facts.migrate_uri, target_address="a", copy=True
        )
        assert code_of(lambda: bench.here.driver.mover.migrate(order, ignore)) == "failed"
        assert runtime.inspect(plan.uuid).state == "running"


def test_a_hypervisor_that_goes_away_says_so_and_comes_back(tmp_path: Path):
    closed: list[str] = []
    one = side(tmp_path, "one")
    one.driver.connect(one.events.append, closed.append)
    down = one.driver.host.folder.path / "down"
    down.touch()
    until(lambda: closed, 5)
    assert not one.driver.alive()
    assert code_of(one.driver.meter.domains) == "hypervisor_down"
    assert code_of(lambda: one.driver.connect(lambda _: None, lambda _: None)) == "hypervisor_down"
    down.unlink()
    one.driver.connect(lambda _: None, lambda _: None)
    assert one.driver.alive()
    one.driver.close()


def test_a_target_that_goes_away_leaves_the_vm_at_the_source(bench: Bench):
    plan, order = bench.ready_to_move(slow_plan(bench))
    thread, outcome = in_background(lambda: bench.here.driver.mover.migrate(order, ignore))
    until(lambda: bench.here.driver.runtime.inspect(plan.uuid).job, 5)
    (bench.there.driver.host.folder.path / "down").touch()
    thread.join(10)
    assert outcome[0].code == "failed"
    assert bench.here.driver.runtime.inspect(plan.uuid).state == "running"


def test_a_domain_destroyed_while_it_moves_fails_the_migration(bench: Bench):
    plan, order = bench.ready_to_move(slow_plan(bench))
    thread, outcome = in_background(lambda: bench.here.driver.mover.migrate(order, ignore))
    until(lambda: bench.here.driver.runtime.inspect(plan.uuid).job, 5)
    bench.here.driver.runtime.destroy(plan.uuid)
    thread.join(10)
    assert outcome[0].code == "failed"
    assert report_of(bench.there, plan.uuid) is None


def test_the_uri_says_what_the_host_is(tmp_path: Path):
    state = tmp_path / "agent"
    assert parse_uri("simulated", state).world == tmp_path / "simulated-world"
    found = parse_uri("simulated:///w/x?cpus=4&memory=16&speed=10&storage=shared", state)
    assert (found.world, found.cpus, found.memory_mib, found.speed, found.shared) == (
        Path("/w/x"), 4, 16 * 1024, 10.0, True,
    )  # fmt: skip
    assert parse_uri("simulated?memory=512MiB", state).memory_mib == 512
    assert is_simulated("simulated?cpus=2")
    assert not is_simulated("simulatedx")
    assert not is_simulated("qemu:///system")


@pytest.mark.parametrize(
    "uri", ["simulated://host/w", "simulated?cpus=0", "simulated?cpus=x", "simulated?bogus=1"]
)
def test_a_wrong_uri_is_refused(uri: str, tmp_path: Path):
    assert code_of(lambda: parse_uri(uri, tmp_path)) == "bad_arguments"
