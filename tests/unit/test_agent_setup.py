from pathlib import Path

import pytest

from agent.errors import AgentError
from agent.ports import DriverSettings
from agent.setup import Found, Step, apply, plan, run

SETTINGS = DriverSettings(
    hypervisor="qemu:///system", address="127.0.0.1", state=Path("/s/agent"), pool_path=Path("/p")
)
READY = Found(qemu_version=10_000_000, pool="ready", state_mode=0o700)


def test_a_ready_host_needs_nothing():
    found = plan(READY, SETTINGS)
    assert (found.steps, found.missing, found.notes) == ((), (), ())


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        ({"pool": "absent"}, ["pool"]),
        ({"pool": "stopped"}, ["pool"]),
        ({"state_mode": None}, ["state"]),
        ({"state_mode": 0o755}, ["state_mode"]),
        ({"state_mode": None, "pool": "absent"}, ["state", "pool"]),
    ],
)
def test_what_can_be_made_is_planned(changes, kinds):
    fields = {"qemu_version": 10_000_000, "pool": "ready", "state_mode": 0o700, **changes}
    assert [step.kind for step in plan(Found(**fields), SETTINGS).steps] == kinds


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"libvirt_problem": "libvirt is away; type `apt install x`"}, "apt install x"),
        ({"qemu_version": 0}, "apt install qemu-system-x86"),
        ({"qemu_img": False}, "apt install qemu-utils"),
        ({"pool": "elsewhere", "pool_at": "/other"}, "--pool-path /other"),
    ],
)
def test_what_only_a_person_can_mend_is_named(changes, words):
    fields = {"qemu_version": 10_000_000, "pool": "ready", "state_mode": 0o700, **changes}
    found = plan(Found(**fields), SETTINGS)
    assert any(words in text for text in found.missing)
    assert found.steps == ()


def test_emulation_on_an_old_qemu_is_noted():
    notes = plan(Found(qemu_version=7_002_000, pool="ready", state_mode=0o700, kvm=False), SETTINGS).notes
    assert len(notes) == 2
    new = plan(Found(qemu_version=10_000_000, pool="ready", state_mode=0o700, kvm=False), SETTINGS).notes
    assert len(new) == 1


class Talk:
    def __init__(self, found: Found, answer: str = "y") -> None:
        self.found, self.answer = found, answer
        self.applied: list[str] = []
        self.asked = 0

    def run(self, *arguments: str) -> int:
        def ask(_question: str) -> str:
            self.asked += 1
            if self.answer == "eof":
                raise EOFError
            return self.answer

        return run(
            [*arguments, "--state", "/s/agent", "--pool-path", "/p"],
            look_at=lambda _settings: self.found,
            apply_step=lambda step, _settings: self.applied.append(step.kind),
            ask=ask,
        )


NEEDS_POOL = Found(qemu_version=10_000_000, pool="absent", state_mode=0o700)


def test_it_asks_before_it_changes(capsys):
    talk = Talk(NEEDS_POOL)
    assert talk.run() == 0
    assert (talk.asked, talk.applied) == (1, ["pool"])
    out = capsys.readouterr().out
    assert "this will be changed" in out
    assert "storage pool hpgreedy in /p" in out


@pytest.mark.parametrize("answer", ["n", "", "maybe", "eof"])
def test_no_means_no(answer, capsys):
    talk = Talk(NEEDS_POOL, answer)
    assert talk.run() == 1
    assert talk.applied == []
    assert "nothing was changed" in capsys.readouterr().out


def test_yes_asks_nothing():
    talk = Talk(NEEDS_POOL)
    assert talk.run("--yes") == 0
    assert (talk.asked, talk.applied) == (0, ["pool"])


def test_nothing_to_do_is_said(capsys):
    talk = Talk(READY)
    assert talk.run() == 0
    assert (talk.asked, talk.applied) == (0, [])
    assert "nothing to do" in capsys.readouterr().out


def test_something_missing_is_exit_1_after_the_rest_is_done():
    talk = Talk(Found(qemu_version=10_000_000, qemu_img=False, pool="absent", state_mode=0o700))
    assert talk.run("--yes") == 1
    assert talk.applied == ["pool"]


def test_a_simulated_host_gets_its_state_folder(tmp_path: Path, capsys):
    state = tmp_path / "a" / "agent"
    arguments = ["--hypervisor", "simulated", "--state", str(state), "--yes"]
    assert run(arguments) == 0
    assert state.stat().st_mode & 0o777 == 0o700
    assert run(arguments) == 0
    assert "nothing to do" in capsys.readouterr().out
    state.chmod(0o755)
    assert run(arguments) == 0
    assert state.stat().st_mode & 0o777 == 0o700


def test_libvirt_python_that_is_not_there_is_missing(capsys, tmp_path: Path, monkeypatch):
    def none(_settings):
        raise AgentError("libvirt-python is not installed: type `apt install python3-libvirt`", 2)

    monkeypatch.setattr("agent.setup.make_driver", none)
    assert run(["--state", str(tmp_path / "s"), "--yes"]) == 1
    assert "missing: libvirt-python is not installed: type `apt install" in capsys.readouterr().out


def test_a_step_that_fails_is_a_sentence(tmp_path: Path):
    (tmp_path / "file").write_text("")
    settings = DriverSettings(hypervisor="simulated", address="127.0.0.1", state=tmp_path / "file" / "agent")
    with pytest.raises(AgentError, match="could not make it"):
        apply(Step("state", "make it"), settings)
