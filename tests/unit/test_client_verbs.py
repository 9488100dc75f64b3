"""Verbs against a coordinator that answers out of a dict: what is asked, printed and returned."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from client_fakes import FakeCoordinator, in_turn, make_host, make_op, make_status, make_vm

from hpgreedy.client.main import main
from protocol.messages import Reply
from protocol.verbs import (
    VERBS,
    AlgorithmView,
    ClusterExport,
    ConsoleLogText,
    ImageView,
    OpsStarted,
    TokenCreated,
)

ROOT = Path(__file__).parents[2]
ENDED = make_op(7, "delete", done=True, ok=True)
ALGORITHMS = (AlgorithmView(name="best-fit", summary="s", source="built in", default=True),)
EXPORT = ClusterExport(
    hosts=({"id": "host1", "cpu": 8, "memory": 16}, {"id": "h2", "cpu": 2, "memory": 2, "state": "draining"}),
    vms=({"id": 7, "cpu": 1, "memory": 1, "host": "host1"}, {"id": "b", "cpu": 1, "memory": 1}),
)
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[FakeCoordinator]:
    with FakeCoordinator({"algorithm.list": ALGORITHMS}) as fake:
        fake.write_access(tmp_path)
        yield fake


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: str) -> tuple[int, str, str]:
        code = main(["127.0.0.1", *words, "--state", str(tmp_path)])
        out, err = capsys.readouterr()
        return code, out, err

    return call


LOOKS: list[tuple[list[str], str, Any, dict[str, Any]]] = [
    (["vm", "list"], "vm.list", (make_vm(),), {}),
    (["vm", "show", "web-1"], "vm.show", make_vm(), {"id": "web-1"}),
    (["host", "list"], "host.list", (make_host(),), {}),
    (["host", "show", "host1"], "host.show", make_host(), {"id": "host1"}),
    (["op", "list"], "op.list", (make_op(vm="web-1"),), {}),
    (["op", "list", "--open", "--limit", "5"], "op.list", (make_op(),), {"open_only": True, "limit": 5}),
    (["op", "show", "3"], "op.show", make_op(3), {"id": 3}),
    (["algorithm", "list"], "algorithm.list", ALGORITHMS, {}),
    (["export"], "export", EXPORT, {}),
    (["status"], "status", make_status(host_list=(make_host(),)), {}),
    (
        ["image", "list"],
        "image.list",
        (
            ImageView(
                name="web-1", files=({"role": "disk", "size": 5},), cmdline="", virtual_size=9, state="ready"
            ),
        ),
        {},
    ),
]


@pytest.mark.parametrize(("words", "verb", "answer", "args"), LOOKS, ids=lambda value: None)
def test_verbs_that_look(
    run: Run, coordinator: FakeCoordinator, words: list[str], verb: str, answer: Any, args: dict[str, Any]
) -> None:
    import msgspec

    coordinator.answers[verb] = answer
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    assert any(name in out for name in ("web-1", "host1", "best-fit"))
    assert coordinator.asked == [(verb, args)]
    code, out, err = run(*words, "--json")
    assert (code, err) == (0, "")
    assert msgspec.convert(json.loads(out), VERBS[verb][1]) == answer


def test_export_writes_a_file_that_simulate_reads(
    run: Run, coordinator: FakeCoordinator, tmp_path: Path
) -> None:
    coordinator.answers["export"] = EXPORT
    path = tmp_path / "cluster.json"
    code, out, err = run("export", str(path))
    assert (code, err) == (0, "")
    assert "2 host(s) and 2 VM(s) written" in out
    assert json.loads(path.read_text()) == {"hosts": list(EXPORT.hosts), "vms": list(EXPORT.vms)}
    code, out, err = run("simulate", "place", str(path), "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["placements"] == [{"vm": "b", "host": "host1"}]
    code, out, _ = run("export")
    assert json.loads(out) == json.loads(path.read_text())


def test_export_says_when_the_file_cannot_be_written(
    run: Run, coordinator: FakeCoordinator, tmp_path: Path
) -> None:
    coordinator.answers["export"] = EXPORT
    code, out, err = run("export", str(tmp_path / "no" / "such"))
    assert (code, out) == (2, "")
    assert err.endswith("such cannot be written: No such file or directory\n")


CHANGES: list[tuple[list[str], str, dict[str, Any]]] = [
    (["vm", "delete", "a"], "vm.delete", {"id": "a", "grace": 60.0}),
    (["vm", "delete", "a", "--force", "--grace", "5"], "vm.delete", {"id": "a", "force": True, "grace": 5.0}),
    (["vm", "start", "a"], "vm.start", {"id": "a"}),
    (["vm", "stop", "7", "--grace", "1.5"], "vm.stop", {"id": "7", "grace": 1.5}),
    (["vm", "migrate", "a"], "vm.migrate", {"id": "a"}),
    (
        ["vm", "migrate", "a", "--to", "h", "--bandwidth", "9"],
        "vm.migrate",
        {"id": "a", "to": "h", "bandwidth": 9},
    ),
    (["vm", "adopt", "h", "old vm"], "vm.adopt", {"host": "h", "name": "old vm"}),
    (["image", "delete", "i"], "image.delete", {"id": "i"}),
]


@pytest.mark.parametrize(("words", "verb", "args"), CHANGES, ids=lambda value: None)
def test_verbs_that_change_wait_for_the_end(
    run: Run, coordinator: FakeCoordinator, words: list[str], verb: str, args: dict[str, Any]
) -> None:
    coordinator.answers[verb] = OpsStarted(operations=(make_op(7, "delete"),))
    coordinator.answers["op.show"] = in_turn(make_op(7, "delete", state="stopping"), ENDED)
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    assert out.splitlines() == ["web-1: queued", "web-1: stopping", "web-1: deleted"]
    assert coordinator.asked[0] == (verb, args)


@pytest.mark.parametrize(("words", "verb", "args"), CHANGES, ids=lambda value: None)
def test_verbs_that_change_return_at_once_when_told(
    run: Run, coordinator: FakeCoordinator, words: list[str], verb: str, args: dict[str, Any]
) -> None:
    coordinator.answers[verb] = OpsStarted(operations=(make_op(7, "delete"),), notes=("look out",))
    code, out, _ = run(*words, "--no-wait")
    assert code == 0
    assert "note: look out" in out
    assert coordinator.requests("op.show") == []
    code, out, _ = run(*words, "--no-wait", "--json")
    assert json.loads(out)["operations"][0]["id"] == 7


def test_a_failed_operation_exits_1_and_says_why_once(run: Run, coordinator: FakeCoordinator) -> None:
    failed = make_op(7, "stop", done=True, ok=False, error="the guest did not stop within 60 s and goes on")
    coordinator.answers["vm.stop"] = OpsStarted(operations=(failed,))
    code, _, err = run("vm", "stop", "web-1")
    assert code == 1
    assert err == "stop of web-1 failed: the guest did not stop within 60 s and goes on\n"
    code, out, _ = run("vm", "stop", "web-1", "--json")
    assert code == 1
    assert json.loads(out)["operations"][0]["error"].startswith("the guest")


def test_watching_an_operation(run: Run, coordinator: FakeCoordinator) -> None:
    coordinator.answers["op.show"] = in_turn(make_op(7, "delete"), ENDED)
    assert run("op", "watch", "7")[:2] == (0, "web-1: queued\nweb-1: deleted\n")
    coordinator.answers["op.show"] = make_op(7, done=True, ok=False, error="e")
    code, out, _ = run("op", "watch", "7", "--json")
    assert (code, json.loads(out)["ok"]) == (1, False)


def test_a_time_allowed_for_waiting(run: Run, coordinator: FakeCoordinator) -> None:
    coordinator.answers["vm.start"] = OpsStarted(operations=(make_op(7, "start"),))
    coordinator.answers["op.show"] = make_op(7, "start")
    code, _, err = run("vm", "start", "web-1", "--timeout", "0")
    assert code == 1
    assert "op watch 7" in err


@pytest.mark.parametrize(
    ("code", "expected"),
    [("bad_request", 2), ("not_found", 2), ("exists", 2), ("refused", 1), ("busy", 1), ("brand_new", 1)],
)
def test_refusals_are_one_sentence_and_an_exit_code(
    run: Run, coordinator: FakeCoordinator, code: str, expected: int
) -> None:
    coordinator.answers["vm.show"] = Reply(ok=False, code=code, error="there is no VM 'a'", field="id")
    assert run("vm", "show", "a") == (expected, "", "there is no VM 'a'\n")
    exit_code, out, err = run("vm", "show", "a", "--json")
    assert exit_code == expected
    assert json.loads(out) == {"error": {"code": code, "message": "there is no VM 'a'", "field": "id"}}
    assert err == "there is no VM 'a'\n"


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["vm"], ["vm list", "vm migrate"]),
        (["vm", "lst"], ["'vm lst'", "vm list"]),
        (["vm", "list", "more"], ["'more'", "vm list"]),
        (["vm", "list", "--colour"], ["--colour", "--json"]),
        (["vm", "show"], ["ID"]),
        (["vm", "show", "a b"], ["'a b'", "1 to 63"]),
        (["vm", "delete", "a", "--grace", "0"], ["--grace", "'0'", "3600"]),
        (["vm", "delete", "a", "--grace"], ["--grace", "value"]),
        (["vm", "migrate", "a", "--bandwidth", "fast"], ["--bandwidth", "'fast'", "1000000"]),
        (["op", "show", "first"], ["'first'"]),
        (["op", "list", "--limit", "1e9"], ["--limit", "'1e9'"]),
        (["token", "create"], ["--role"]),
        (["token", "create", "--role", "king"], ["role", "king"]),
        (["--frob"], ["--frob"]),
    ],
)
def test_bad_usage_is_one_sentence_and_asks_nobody(
    run: Run, coordinator: FakeCoordinator, words: list[str], parts: list[str]
) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    for part in parts:
        assert part.replace("'a b'", '"a b"') in err or part in err
    assert coordinator.asked == []
    code, out, _ = run(*words, "--json")
    assert code == 2
    assert set(json.loads(out)["error"]) == {"code", "message", "field"}


def test_an_unknown_word_is_answered_with_verbs_and_algorithms(
    run: Run, coordinator: FakeCoordinator
) -> None:
    code, out, err = run("first-best")
    assert (code, out) == (2, "")
    assert "'first-best'" in err
    assert "submit, flush, status" in err
    assert "best-fit" in err


def test_an_unknown_word_without_a_coordinator(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["127.0.0.1", "first-best", "--state", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert "submit, flush, status" in err
    assert "cannot be asked" in err
    assert err.count("\n") == 1


def test_nobody_listens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpgreedy.client.connection.PATIENCE", 0.3)
    with FakeCoordinator({}) as gone:
        gone.write_access(tmp_path)
    assert main(["127.0.0.1", "vm", "list", "--state", str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert "nothing listens there" in err
    assert err.count("\n") == 1


def test_a_lost_request_is_sent_again_under_the_same_id(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeCoordinator({"vm.list": (make_vm(),)}, drop_first=1) as coordinator:
        coordinator.write_access(tmp_path)
        assert main(["vm", "list", "--state", str(tmp_path)]) == 0
    assert len(coordinator.ids) == 2
    assert len(set(coordinator.ids)) == 1


def test_console_log(run: Run, coordinator: FakeCoordinator) -> None:
    coordinator.answers["vm.console_log"] = ConsoleLogText(
        id="a", host="h", text="one\r\ntwo\x1b[1mthree\x1b[0m\r\nlogin: ", total=99
    )
    assert run("vm", "console-log", "a", "--lines", "2") == (0, "twothree\nlogin: \n", "")
    code, out, _ = run("vm", "console-log", "a", "--json")
    assert (code, json.loads(out)["total"]) == (0, 99)


def test_console_follow_prints_only_what_is_new(
    run: Run, coordinator: FakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def view(text: str, total: int, host: str = "h") -> ConsoleLogText:
        return ConsoleLogText(id="a", host=host, text=text, total=total)

    coordinator.answers["vm.console_log"] = in_turn(
        view("boot\n", 5),
        view("boot\n", 5),
        view("boot\nlogin\n", 11),
        view("again\n", 6),
        Reply(ok=False, error="gone"),
    )
    monkeypatch.setattr("hpgreedy.client.verbs.vms.CONSOLE_POLL_SECONDS", 0.0)
    code, out, err = run("vm", "console-log", "a", "--follow")
    assert (code, out, err) == (1, "boot\nlogin\nagain\n", "gone\n")


def test_tokens_stand_alone_on_their_line(run: Run, coordinator: FakeCoordinator) -> None:
    coordinator.answers["token.create"] = TokenCreated(token="hpg1.abc", expires=5.0)
    assert run("token", "create", "--role", "agent", "--ttl", "60") == (0, "hpg1.abc\n", "")
    assert coordinator.asked == [("token.create", {"role": "agent", "ttl": 60.0})]


def test_without_any_word_the_usage_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert main(["--json"]) == 2
    assert "ADDRESS" in capsys.readouterr().err


def test_help_lists_verbs_and_needs_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for verb in ("submit", "vm", "host", "op", "image", "token", "join", "status", "--state"):
        assert verb in out
    assert main(["h", "vm", "migrate", "--help"]) == 0
    assert "--bandwidth" in capsys.readouterr().out


def start(tmp_path: Path, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "run_client.py"), "127.0.0.1", *words, "--state", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
    )


def test_a_reader_that_goes_away_is_no_noise(tmp_path: Path, coordinator: FakeCoordinator) -> None:
    coordinator.answers["vm.list"] = tuple(make_vm(f"vm-{n}") for n in range(2000))
    process = start(tmp_path, "vm", "list", "--json")
    assert process.stdout is not None
    process.stdout.read(1)
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait(20) == 130


def test_control_c_is_quiet(tmp_path: Path, coordinator: FakeCoordinator) -> None:
    coordinator.answers["op.show"] = make_op(7)
    process = start(tmp_path, "op", "watch", "7")
    for _ in range(1000):
        if len(coordinator.requests("op.show")) > 3:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, b"")


def prompt(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_the_prompt_turns_numbers_into_vms(
    run: Run, coordinator: FakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator.answers["status"] = make_status()

    def submit(args: dict[str, Any]) -> OpsStarted:
        return OpsStarted(operations=(make_op(vm=args["vms"][0]["id"], done=True, ok=True, target="host1"),))

    coordinator.answers["submit"] = submit
    prompt(monkeypatch, "4\n\n1.5\n512MiB\nstatus\nhelp\nexit\n99\n")
    code, out, err = run("best-fit")
    assert (code, err) == (0, "")
    asked = coordinator.requests("submit")
    assert [args["vms"][0]["memory"] for args in asked] == [4, 1.5, 0.5]
    assert all(args["vms"][0]["cpu"] == 1 and args["algorithm"] == "best-fit" for args in asked)
    ids = [args["vms"][0]["id"] for args in asked]
    assert len(set(ids)) == 3
    assert all(name.startswith("vm-") for name in ids)
    assert f"{ids[0]}: running on host1" in out
    assert "Cluster test" in out


def test_the_prompt_goes_on_after_mistakes_and_tells_scripts(
    run: Run, coordinator: FakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator.answers["status"] = make_status()
    coordinator.answers["submit"] = Reply(ok=False, code="refused", error="no host has 900GiB")
    prompt(monkeypatch, "four\n-1\n900\nstatus\n")
    code, out, err = run()
    assert code == 2
    first, second, third = err.splitlines()
    assert "'four'" in first
    assert "'-1'" in second
    assert third == "no host has 900GiB"
    assert "host2 is unreachable" in out
    assert "algorithm" not in coordinator.requests("submit")[0]


def test_more_words_after_an_algorithm_are_refused(run: Run, coordinator: FakeCoordinator) -> None:
    code, _, err = run("best-fit", "4")
    assert code == 2
    assert "'4'" in err
