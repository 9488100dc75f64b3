"""`run_server.py` as a program: what it accepts, what it refuses, and that killing it loses nothing."""

import asyncio
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
import structlog
from agent_rig import FakeCoordinator

import run_server
from agent.options import TABLE, read
from protocol.messages import CommandAccepted, CommandProgress, Hello, Report
from protocol.transport.keys import generate_keys

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _unconfigured_logs():
    yield
    structlog.reset_defaults()


GOOD = ["127.0.0.1", "5000", "8"]


def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "run_server.py"), *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **(env or {})},
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["127.0.0.1", "99999", "8"], "port is '99999'; it must be a whole number from 1 to 65535"),
        (["127.0.0.1", "0", "8"], "port is '0'"),
        (["127.0.0.1", "5000", "-1"], "memory_gib is '-1'; it must be a number of GiB from 0"),
        (["127.0.0.1", "5000", "abc"], "memory_gib is 'abc'"),
        (["127.0.0.1", "5000", "nan"], "memory_gib is 'nan'"),
        (["127.0.0.1", "5000"], "memory_gib"),
        (["no such host!", "5000", "8"], "coordinator_ip is 'no such host!'"),
        ([*GOOD, "--colour", "red"], "--colour"),
        ([*GOOD, "--hypervisor", "vmware"], "--hypervisor is 'vmware'; it must be a libvirt URI"),
        ([*GOOD, "--label", "rack"], "--label is 'rack'; it must be name=value"),
        ([*GOOD, "--resource", "gpu=many"], "--resource gpu is 'many'; it must be a whole number"),
        ([*GOOD, "--name", "a b"], "--name is 'a b'; it must be 1 to 63 characters"),
        ([*GOOD, "--cpu-overcommit", "0"], "--cpu-overcommit is '0'"),
        ([*GOOD, "--migration-transport", "pigeon"], "one of tls, ssh, tcp"),
        ([*GOOD, "--log-level", "loud"], "one of debug, info, warning, error"),
        ([*GOOD, "--reserve-memory", "-3"], "--reserve-memory is '-3'"),
        ([*GOOD, "--bridge", "a-name-that-is-too-long"], "at most 15 characters"),
        ([*GOOD, "--config", "/nonexistent.toml"], "cannot be read"),
        ([*GOOD, "--hypervisor", "simulated?cpus=none"], "cpus is 'none'"),
        (["setup", "--colour"], "--colour"),
        (["setup", "--pool", "a b"], "--pool is 'a b'"),
    ],
)
def test_a_bad_value_is_one_sentence_and_exit_2(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("HPGREEDY_STATE", str(tmp_path))
    assert run_server.main(arguments) == 2
    out, err = capsys.readouterr()
    assert words in err
    assert err.startswith("run_server.py: ")
    assert err.count("\n") == 1
    assert out == ""


def test_help_names_every_option_and_default():
    done = run("--help")
    assert done.returncode == 0
    text = " ".join(done.stdout.split())
    for name, option in TABLE.options.items():
        assert f"--{name}" in text
        if isinstance(option.default, str | int | float) and not isinstance(option.default, bool):
            assert f"(default: {option.default})" in text


def test_defaults(tmp_path, monkeypatch):
    monkeypatch.setenv("HPGREEDY_STATE", str(tmp_path))
    settings, options = read(GOOD)
    assert (settings.coordinator, settings.port, settings.memory_mib) == ("127.0.0.1", 5000, 8192)
    assert (settings.state, settings.state_root) == (tmp_path / "agent", tmp_path)
    assert (settings.driver.hypervisor, settings.driver.address) == ("qemu:///system", "127.0.0.1")
    assert (settings.reserve_memory_mib, settings.reserve_cpu) == (1024, 0)
    assert options["log-level"] == "info"


def test_the_command_line_wins_over_the_file(tmp_path):
    file = tmp_path / "agent.toml"
    file.write_text(
        '[agent]\nname = "filed"\nreserve_memory = 2\nlabel = {rack = "r1"}\nresource = {gpu = 2}\n'
        'pool_path = "/srv/pool"\nwait_hypervisor = true\n'
    )
    settings, _ = read([*GOOD, "--config", str(file), "--name", "typed", "--hypervisor", "simulated"])
    assert settings.name == "typed"
    assert settings.reserve_memory_mib == 2048
    assert (settings.labels, settings.resources) == ({"rack": "r1"}, {"gpu": 2})
    assert settings.driver.pool_path == Path("/srv/pool")
    assert settings.wait_hypervisor


def test_repeated_labels_and_amounts_with_units():
    settings, _ = read(["::1", "5000", "512MiB", "--label", "a=1", "--label", "b=x=y", "--resource", "gpu=3"])
    assert settings.labels == {"a": "1", "b": "x=y"}
    assert settings.resources == {"gpu": 3}
    assert settings.memory_mib == 512
    assert settings.driver.address == "::1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[agent]\ncolour = 1\n", "unknown key 'colour'"),
        ("[agent]\nreserve-memory = 1\n", "unknown key 'reserve-memory'"),
        ("[agent]\nname = 7\n", "--name is 7"),
        ("[agent]\nwait_hypervisor = 'yes'\n", "true or false"),
        ("agent = 1\n", "must be a table"),
        ("[agent\n", "not valid TOML"),
    ],
)
def test_a_bad_file_is_one_sentence(text, words, tmp_path, capsys):
    file = tmp_path / "agent.toml"
    file.write_text(text)
    assert run_server.main([*GOOD, "--config", str(file)]) == 2
    assert words in capsys.readouterr().err


def test_without_libvirt_python_a_libvirt_uri_says_what_to_install(tmp_path):
    (tmp_path / "libvirt.py").write_text("raise ImportError('no libvirt here', name='libvirt')\n")
    env = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = run(*GOOD, "--state", str(tmp_path / "s"), env=env)
    assert done.returncode == 2
    assert "apt install python3-libvirt" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_simulated_agent_imports_no_libvirt(tmp_path):
    (tmp_path / "libvirt.py").write_text("raise SystemExit('libvirt was imported')\n")
    env = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = run(
        *GOOD,
        "--hypervisor",
        "simulated",
        "--state",
        str(tmp_path / "s"),
        "--state-root",
        str(tmp_path),
        env=env,
    )
    assert done.returncode == 1
    assert "--join TOKEN" in done.stderr


class Program:
    """An agent as a process of its own."""

    def __init__(self, folder: Path, coordinator: FakeCoordinator, name: str) -> None:
        self.arguments = [
            sys.executable, str(ROOT / "run_server.py"), "127.0.0.1", str(coordinator.port), "8",
            "--name", name, "--hypervisor", f"simulated://{folder}/world?speed=500",
            "--state", str(folder / name), "--state-root", str(folder / "root"), "--log-format", "json",
        ]  # fmt: skip
        self.log = folder / f"{name}.log"
        self.start()

    def start(self) -> None:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(self.arguments, stderr=log, stdout=log)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(20)

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


@pytest.fixture
async def hosts(tmp_path: Path):
    coordinator = await FakeCoordinator().start()
    coordinator.leave_local_access(tmp_path / "root")
    programs = {name: Program(tmp_path, coordinator, name) for name in ("h1", "h2")}
    for name in programs:
        await coordinator.until(lambda name=name: coordinator.of(Report, name), 60)
    yield coordinator, programs
    for program in programs.values():
        program.kill()
    await coordinator.close()


async def moving(coordinator: FakeCoordinator, vm: str) -> None:
    spec = {"id": "vm1", "cpu": 1, "memory": 2, "nics": []}
    stamp = {"operation": "1", "owner": "o", "cluster": "c"}
    plan = {"spec": spec, "uuid": vm, "macs": [], "max_cpu": 1, "max_memory_mib": 2048, "stamp": stamp}
    assert (await coordinator.do("h1", "p", "provision", plan=plan)).ok
    assert (await coordinator.do("h1", "s", "start", uuid=vm)).ok
    target = coordinator.of(Hello, "h2")[0].migrate_uri
    await coordinator.command(
        "h1", "m", "migrate", uuid=vm, target_uri=target, target_address="127.0.0.1", copy=False
    )
    await coordinator.until(lambda: coordinator.of(CommandProgress, "h1"))


async def test_a_killed_agent_finds_its_migration_again(hosts):
    coordinator, programs = hosts
    vm = str(uuid.uuid4())
    await moving(coordinator, vm)
    programs["h1"].kill()
    host = coordinator.of(Hello, "h1")[0].host_id
    count = len(coordinator.of(CommandProgress))
    programs["h1"].start()
    result = await coordinator.result("h1", "m")
    assert result.ok, result.error
    assert len(coordinator.of(CommandProgress)) > count
    assert {h.host_id for h in coordinator.of(Hello, "h1")} == {host}
    assert (await coordinator.do("h2", "i", "inspect", uuid=vm)).data["state"] == "running"
    assert not (await coordinator.do("h1", "i1", "inspect", uuid=vm)).data["present"]
    await coordinator.command("h1", "m", "start", uuid=vm)
    await coordinator.until(lambda: [r for r in coordinator.seen if r[1] == result][1:])
    assert len([m for m in coordinator.of(CommandAccepted, "h1") if m.command == "m"]) == 1


async def test_a_stopped_agent_ends_soon_and_well_and_its_vms_go_on(hosts):
    coordinator, programs = hosts
    vm = str(uuid.uuid4())
    await moving(coordinator, vm)
    begun = time.monotonic()
    assert programs["h1"].end() == 0
    assert time.monotonic() - begun < 15
    await coordinator.until(lambda: any(r.domains for r in coordinator.of(Report, "h2")))


async def test_a_second_agent_on_a_state_folder_is_refused(hosts):
    _, programs = hosts
    done = await asyncio.to_thread(run, *programs["h1"].arguments[2:])
    assert done.returncode == 1
    assert "another agent uses the state folder" in done.stderr


def test_an_unusable_token_is_named(tmp_path):
    token = f"hpg1.{generate_keys().public}"
    done = run(
        *GOOD,
        "--hypervisor",
        "simulated",
        "--state",
        str(tmp_path / "s"),
        "--join",
        token,
        "--log-level",
        "error",
    )
    assert done.returncode == 2
    assert "the join token is wrong" in done.stderr
