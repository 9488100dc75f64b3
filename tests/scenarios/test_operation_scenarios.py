"""Runs every folder of `operations/`: steps.json is played against the engine, expected.log is what follows.

Set HPG_WRITE_EXPECTED=1 to write expected.log anew after a change that was meant; then read the difference.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hpgreedy.operations import again, queue, requests
from hpgreedy.operations.context import Context, Refusal, Tell
from hpgreedy.operations.engine import Engine, Outcome
from hpgreedy.operations.kinds.base import begin
from hpgreedy.operations.places import plan
from hpgreedy.operations.ports import Change
from hpgreedy.operations.records import ImageRecord, Meta
from hpgreedy.operations.world import Now, Settings, World
from hpgreedy.store import MemoryStore
from protocol.messages import (
    Accelerator,
    Capacity,
    CommandResult,
    DomainReport,
    Hello,
    NumaFacts,
    PoolFacts,
    Report,
    Usage,
)
from protocol.spec import ImageFile, ImageManifest, parse_cluster_file

FOLDER = Path(__file__).parent / "operations"
SCENARIOS = sorted(path.name for path in FOLDER.iterdir() if path.is_dir())


class Player:
    """Plays steps against an engine whose hosts are the steps' author."""

    def __init__(self, scenario: dict[str, Any]) -> None:
        self.log: list[str] = []
        self.hosts = scenario["hosts"]
        self.settings = scenario.get("settings", {})
        self.store = MemoryStore(clock=lambda: 0.0)
        self.epoch = self.store.claim_epoch()
        self.mono = 1000.0
        self.uuids = 0
        self.outstanding: list[Tell] = []
        self.states: dict[int, str] = {}
        self.shown: dict[str, dict[str, str]] = {}
        self._load()
        self._act(lambda ctx: ctx.put_meta(self.world.meta))
        self._act(lambda ctx: ctx.put_image(ImageRecord(manifest=IMAGE, ready=True)))
        for name in self.hosts:
            self.hello(name)
            self.report(name, {})
        self.log.clear()

    def _load(self) -> None:
        meta = Meta(cluster="c0ffee00" * 4)
        settings = msgspec.convert({"default_image": "guest", **self.settings}, Settings)
        self.world = World.load(self.store.load(), settings, meta)
        self.engine = Engine(self.world)

    @property
    def now(self) -> Now:
        return Now(wall=self.mono + 1e6, mono=self.mono)

    def _act(self, act: Any, by: str = "ann") -> None:
        self.follow(self.engine.run(self.now, act, by))

    def follow(self, outcome: Outcome) -> None:
        changes: tuple[Change, ...] = outcome.context.changes
        if changes:
            self.store.append(self.epoch, changes)
        for op in self.world.operations.values():
            if self.states.get(op.id) != op.state:
                self.states[op.id] = op.state
                error = f": {op.error}" if op.done and op.error else ""
                self.log.append(
                    f"operation {op.id} {op.kind} {op.vm or ''} is {op.state}{error}".replace("  ", " ")
                )
        self.log += [f"note: {note}" for note in outcome.context.notes]
        for sentence in outcome.context.alarms:
            self.log.append(f"ALARM {sentence}")
        for tell in outcome.tells:
            self.log.append(f"tell {tell.host} {tell.waiting.action} ({tell.waiting.id.split('.', 1)[1]})")
            self.outstanding = [t for t in self.outstanding if t.waiting.id != tell.waiting.id] + [tell]

    def hello(self, name: str) -> None:
        facts = self.hosts[name]
        storage = facts.get("storage", "shared")
        number = list(self.hosts).index(name) + 1
        hello = Hello(
            host_id=f"00000000-0000-0000-0000-{number:012d}",
            name=name,
            boot_id="b",
            hypervisor="qemu:///system",
            hypervisor_uuid=f"10000000-0000-0000-0000-{number:012d}",
            address=f"10.0.0.{number}",
            migrate_uri=f"qemu+tcp://10.0.0.{number}/system",
            capacity=Capacity(cpus=facts["cpu"], memory_mib=facts["memory"]),
            accelerator=Accelerator(kind=facts.get("kind", "qemu"), reason="test"),
            labels=facts.get("labels", {}),
            cpu_models=tuple(facts.get("cpu_models", ())),
            numa=tuple(
                NumaFacts(node=n, cpuset=str(n), cpus=cpus, memory_mib=mib)
                for n, (cpus, mib) in enumerate(facts.get("numa", ()))
            ),
            pools=tuple(PoolFacts(name="p", path="/p", storage_id=found) for found in [storage] if found),
        )
        self.follow(self.engine.host_hello(self.now, f"key-{name}", hello))

    def report(self, name: str, vms: dict[str, str], *, libvirt: bool = True) -> None:
        facts = self.hosts[name]
        self.shown[name] = vms
        domains = tuple(
            DomainReport(uuid=self.world.vms[vm].uuid, name=vm, state=state, ours=True)  # type: ignore[arg-type]
            for vm, state in vms.items()
        )
        report = Report(
            seq=1,
            at=self.mono,
            capacity=Capacity(cpus=facts["cpu"], memory_mib=facts["memory"]),
            usage=Usage(),
            domains=domains,
            hypervisor_up=libvirt,
            problem="" if libvirt else "libvirtd is gone",
        )
        self.follow(self.engine.host_report(self.now, name, report))

    def answer(self, host: str, *, ok: bool, data: dict[str, Any], code: str = "", error: str = "") -> None:
        tell = next(t for t in self.outstanding if t.host == host)
        self.outstanding.remove(tell)
        result = CommandResult(command=tell.waiting.id, ok=ok, data=data, code=code, error=error)
        self.follow(self.engine.command_result(self.now, host, result))

    def answer_to(self, action: str, code: str = "", error: str = "") -> None:
        """The newest command of that action is answered, whatever else waits."""
        tell = [t for t in self.outstanding if t.waiting.action == action][-1]
        self.outstanding.remove(tell)
        result = CommandResult(command=tell.waiting.id, ok=not code, code=code, error=error)
        self.follow(self.engine.command_result(self.now, tell.host, result))

    def show_history(self, number: int) -> None:
        op = self.world.operations[number]
        retry = f", a retry of {op.retry_of}" if op.retry_of else ""
        cancelled = f", cancelled by {op.cancelled_by}" if op.cancelled_by else ""
        self.log.append(f"operation {number} of {op.owner}{retry}{cancelled}:")
        for step in op.history:
            times = f" ({step.count} times)" if step.count > 1 else ""
            who = f" (by {step.by})" if step.by else ""
            self.log.append(f"  {step.state}: {step.note}{times}{who}")

    def given(self, vms: list[dict[str, Any]]) -> None:
        """VMs that run, without a word about how they were made."""
        said = len(self.log)
        specs = parse_cluster_file(vms).vms
        self._act(lambda ctx: requests.submit(ctx, "ann", specs, "greedy", self.uuid))
        while self.outstanding:
            self.answer(self.outstanding[0].host, ok=True, data={})
        for name in self.hosts:
            running = {vm.key: "running" for vm in self.world.vms.values() if vm.host == name}
            self.report(name, running)
        del self.log[said:]

    def moved(self, source: str, target: str) -> None:
        """A migration's commands are answered as they are when it goes well; the hosts report it then."""
        vm = next(op.vm_key for op in self.world.open_operations() if op.state == "preparation")
        self.answer(target, ok=True, data={})
        self.answer(source, ok=True, data={})
        self.answer(source, ok=True, data={"present": False})
        self.answer(target, ok=True, data={"present": True, "state": "running", "persistent": True})
        self.answer(source, ok=True, data={})
        self.answer(source, ok=True, data={})
        self.answer(target, ok=True, data={})
        self.report(source, {key: state for key, state in self.shown[source].items() if key != vm})
        self.report(target, {**self.shown[target], vm: "running"})

    def show_holds(self) -> None:
        for tell in self.outstanding:
            asked = [word for word in ("hold", "resume") if tell.waiting.args.get(word)]
            self.log.append(f"{tell.host} is told: {tell.waiting.action} {asked}")

    def show(self, what: str) -> None:
        match what:
            case "vms":
                for vm in self.world.vms.values():
                    pinned = f" on nodes {list(vm.numa_nodes)}" if vm.numa_nodes else ""
                    model = f", sees a {vm.cpu_model}" if vm.cpu_model else ""
                    self.log.append(
                        f"{vm.key} on {vm.host}{pinned}{model}, desired {vm.desired} {vm.problem}".rstrip()
                    )
            case "queue":
                for op in queue.waiting(self.world):
                    self.log.append(f"{op.vm} {queue.told(self.world, op, self.now)}")
            case "losses":
                for loss in self.world.restarts(self.now).losses():
                    self.log.append(loss.sentence())
            case "claims":
                fleet = self.world.fleet(self.now)
                for position, host in fleet.standing_hosts():
                    used = fleet.used(position)
                    self.log.append(f"{host.key}: {used.cpu} cpus, {used.memory} MiB held")
            case "places":
                for tell in self.outstanding:
                    plan, numa = tell.waiting.args.get("plan", {}), tell.waiting.args.get("numa", [])
                    nodes = plan.get("numa_nodes") or [fact["node"] for fact in numa]
                    self.log.append(
                        f"{tell.host} is told: {tell.waiting.action}, nodes {nodes}, {plan.get('cpu_model')}"
                    )

    def place(self, vms: list[dict[str, Any]]) -> None:
        ctx = Context(self.world, self.now)
        for planned in plan(ctx, parse_cluster_file(vms).vms, "greedy"):
            moves = [f"{move.vm} from {move.source} to {move.target}" for move in planned.placed.moves]
            self.log.append(f"{planned.spec.key} would go to {planned.placed.host}; moves: {moves}")
        assert not ctx.changes

    def step(self, verb: str, *args: Any) -> None:  # noqa: C901 - one branch for each word of the script
        self.log.append(f"> {verb} {' '.join(json.dumps(a) for a in args)}".rstrip())
        try:
            match verb, args:
                case "submit", [vms, *rest]:
                    specs = parse_cluster_file(vms).vms
                    self._act(
                        lambda ctx: requests.submit(
                            ctx, "ann", specs, rest[0] if rest else "greedy", self.uuid
                        )
                    )
                case "flush", []:
                    self._act(queue.flush)
                case "migrate", [vm, to]:
                    self._act(
                        lambda ctx: requests.migrate(ctx, "ann", self.world.vms[vm], to=to, bandwidth=0)
                    )
                case ("delete" | "stop" | "start") as kind, [vm, *rest]:
                    state = rest[0] if rest else {"start": "starting"}.get(kind, "shutting_down")
                    self._act(lambda ctx: requests.on_vm(ctx, kind, state, "ann", self.world.vms[vm]))
                case "adopt", [host, name]:
                    self._act(
                        lambda ctx: begin(
                            ctx,
                            ctx.new_operation("adopt", "adopting", "ann", source=host, args={"name": name}),
                        )
                    )
                case "cancel", [number, *rest]:
                    op, by = self.world.operations[number], (rest or ["ann"])[0]
                    self._act(lambda ctx: requests.cancel(ctx, by, op), by)
                case "retry", [number, *rest]:
                    op, by = self.world.operations[number], (rest or ["ann"])[0]
                    self._act(lambda ctx: again.retry(ctx, by, op, self.uuid), by)
                case "done", [host, *rest]:
                    self.answer(host, ok=True, data=rest[0] if rest else {})
                case "fails", [host, code, error]:
                    self.answer(host, ok=False, data={}, code=code, error=error)
                case "report", [host, vms]:
                    self.report(host, vms)
                case "libvirt-gone", [host]:
                    self.report(host, {}, libvirt=False)
                case "hello", [host]:
                    self.hello(host)
                case "wait", [seconds]:
                    self.mono += seconds
                    self.follow(self.engine.tick(self.now))
                case "restart-coordinator", []:
                    self.epoch = self.store.claim_epoch()
                    self._load()
                    self.follow(self.engine.resume(self.now))
                case "given", [vms]:
                    self.given(vms)
                case "moved", [source, target]:
                    self.moved(source, target)
                case "place", [vms]:
                    self.place(vms)
                case "change", [host, facts]:
                    self.hosts[host] = {**self.hosts[host], **facts}
                    self.hello(host)
                    self.report(host, self.shown[host])
                case "drain", [host]:
                    draining = msgspec.structs.replace(self.world.hosts[host], draining=True)
                    self._act(lambda ctx: ctx.put_host(draining))
                case "show-holds", []:
                    self.show_holds()
                case "answers", [action, *rest]:
                    self.answer_to(action, *rest)
                case "show-history", [number]:
                    self.show_history(number)
                case "show-operations", []:
                    kept = ", ".join(str(number) for number in self.world.operations)
                    self.log.append(f"kept: {kept}; the next is {self.world.meta.next_operation}")
                case (("show-vms" | "show-claims" | "show-places" | "show-queue" | "show-losses"), []):
                    self.show(verb.removeprefix("show-"))
                case _:
                    raise AssertionError(f"unknown step {verb} {args}")
        except Refusal as refusal:
            self.log.append(f"refused ({refusal.code}): {refusal.message}")

    def uuid(self) -> str:
        self.uuids += 1
        return f"20000000-0000-0000-0000-{self.uuids:012d}"


IMAGE = ImageManifest(name="guest", files=(ImageFile(role="disk", size=1, sha256="0" * 64),))


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str) -> None:
    scenario = json.loads((FOLDER / name / "steps.json").read_text())
    assert (FOLDER / name / "README.md").read_text().strip()
    player = Player(scenario)
    for step in scenario["steps"]:
        player.step(*step)
        _world_is_what_the_store_has(player)
    expected = FOLDER / name / "expected.log"
    if os.environ.get("HPG_WRITE_EXPECTED"):
        expected.write_text("\n".join(player.log) + "\n")
    assert player.log == expected.read_text().splitlines()


def _world_is_what_the_store_has(player: Player) -> None:
    stored = World.load(player.store.load(), player.world.settings, player.world.meta)
    assert stored.vms == player.world.vms
    assert stored.operations == player.world.operations
    assert stored.meta == player.world.meta


def test_context_refuses_what_the_table_of_transitions_lacks() -> None:
    player = Player({"hosts": {"h1": {"cpu": 4, "memory": 4096}}, "steps": []})
    player.step("submit", [{"id": "a", "cpu": 1, "memory": 1}])
    op = player.world.operations[1]
    with pytest.raises(AssertionError, match="may not go from provisioning to completed"):
        Context(player.world, player.now).goto(op, "completed")
    assert msgspec.structs.asdict(player.world.operations[1])["state"] == "provisioning"
