"""Bad input: one clear sentence that names what is wrong and what would be right; nothing changes."""

from __future__ import annotations

import json
import os
import socket
from typing import Any

import pytest

from tests.system.conftest import System, free_port

GOOD = {"id": "v", "cpu": 1, "memory": 1}


def state(system: System) -> Any:
    return system.asked_directly("vm.list", "op.list", "image.list")


def one_sentence(stderr: str) -> str:
    """All of it but the notice about hosts; a refusal's sentence is followed by its explanation."""
    lines = [line for line in stderr.strip().splitlines() if "describe a simulation" not in line]
    assert "Traceback" not in stderr
    if "was not placed" in lines[0]:
        assert any(line.startswith("smallest change") for line in lines), stderr
    else:
        assert len(lines) == 1, stderr
    return lines[0]


BAD_FILES: list[tuple[str, Any, int, list[str]]] = [
    ("broken JSON", '{"vms": [', 2, ["not valid JSON", "line 1"]),
    ("not UTF-8", b"\xff\xfe{}", 2, ["UTF-8"]),
    ("a number", "5", 2, ["the input is 5"]),
    ("unknown field", {**GOOD, "memroy": 2}, 2, ['unknown field "memroy"']),
    ("missing field", {"id": "v", "cpu": 1}, 2, ["memory"]),
    ("negative cpu", {**GOOD, "cpu": -4}, 2, ["cpu is -4", "at least 1"]),
    ("cpu 0", {**GOOD, "cpu": 0}, 2, ["cpu is 0; it must be a whole number of at least 1"]),
    ("cpu 1e308", {**GOOD, "cpu": 1e308}, 2, ["cpu is 1e+308", "whole number"]),
    ("cpu as text", {**GOOD, "cpu": "four"}, 2, ['cpu is "four"', "whole number"]),
    ("negative memory", {**GOOD, "memory": -1}, 2, ["memory is -1", "GiB"]),
    ("memory without unit", {**GOOD, "memory": "8192"}, 2, ["memory is '8192'", "8192MiB"]),
    ("memory too large", {**GOOD, "memory": 1e300}, 2, ["memory is 1e+300"]),
    ("NaN", '[{"id":"v","cpu":1,"memory":NaN}]', 2, ["NaN"]),
    ("duplicate ids", [GOOD, GOOD], 2, ['vms[1].id is "v"', "unique"]),
    ("1 and '1'", [{**GOOD, "id": 1}, {**GOOD, "id": "1"}], 2, ["vms[1].id", "unique"]),
    ("path in name", {**GOOD, "id": "../../etc"}, 2, ["id is", "1 to 63 characters"]),
    ("markup in name", {**GOOD, "id": "<a>"}, 2, ["id is", "1 to 63 characters"]),
    ("space in name", {**GOOD, "id": "a b"}, 2, ["id is", "1 to 63 characters"]),
    ("newline in name", {**GOOD, "id": "a\n"}, 2, ["id is", "1 to 63 characters"]),
    ("10,000 characters", {**GOOD, "id": "a" * 10_000}, 2, ["id is", "63"]),
    ("image that does not exist", {**GOOD, "image": "nope"}, 2, ["image is 'nope'", "does not exist"]),
    ("host that does not exist", {**GOOD, "host": "s9"}, 2, ["'s9'", "known: s1, s2, s3"]),
    ("max below size", {**GOOD, "max_memory": "512MiB"}, 2, ["max_memory", "at least memory"]),
    ("deep nesting", "[" * 5000 + "]" * 5000, 2, ["nested too deeply"]),
    ("bigger than any host", {**GOOD, "cpu": 4, "memory": 64}, 1, ["largest that would fit", "8GiB"]),
]


@pytest.mark.parametrize(
    ("content", "code", "words"), [case[1:] for case in BAD_FILES], ids=[c[0] for c in BAD_FILES]
)
def test_bad_file(system: System, tmp_path: Any, content: Any, code: int, words: list[str]) -> None:
    before = state(system)
    path = tmp_path / "request.json"
    text = content if isinstance(content, str | bytes) else json.dumps(content)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    done = system.client("submit", str(path))
    sentence = one_sentence(done.stderr)
    for word in words:
        assert word in sentence
    assert done.returncode == code, sentence
    assert done.stdout == ""
    assert state(system) == before


BAD_WORDS: list[tuple[list[str], int, list[str]]] = [
    (["submit", "/no/such/file.json"], 2, ["/no/such/file.json"]),
    (
        ["submit", "examples/request.json", "--algorithm", "bset_fit"],
        2,
        ["bset_fit", "best_fit, delayed, dot_product, epsilon_greedy, first_fit, greedy"],
    ),
    (["explode"], 2, ["explode", "submit", "greedy"]),
    (["vm", "explode"], 2, ["explode"]),
    (["vm", "show", "nobody"], 2, ["nobody", "no such VM"]),
    (["vm", "migrate", "nobody", "--to", "s1"], 2, ["nobody"]),
    (["vm", "list", "--colour"], 2, ["--colour"]),
    (["host", "show", "s9"], 2, ["s9", "s1, s2, s3"]),
    (["op", "show", "0"], 2, ["0"]),
    (["op", "show", "99999"], 2, ["99999"]),
    (["image", "add", "x"], 2, ["--disk"]),
    (["image", "delete", "nope"], 2, ["nope"]),
    (["token", "create", "--role", "king"], 2, ["king"]),
]


@pytest.mark.parametrize(("words", "code", "parts"), BAD_WORDS, ids=[" ".join(case[0]) for case in BAD_WORDS])
def test_bad_words(system: System, words: list[str], code: int, parts: list[str]) -> None:
    before = state(system)
    done = system.client(*words)
    sentence = one_sentence(done.stderr)
    assert done.returncode == code, sentence
    for part in parts:
        assert part in sentence
    assert state(system) == before


def test_wrong_port_and_no_coordinator(system: System) -> None:
    for address, port, code, words in [
        ("127.0.0.1", str(free_port()), 1, ["no coordinator answered", "nothing listens there"]),
        ("127.0.0.1", "99999", 2, ["99999", "65535"]),
        ("127.0.0.1", "five", 2, ["five"]),
        ("127.0.0.1", "-1", 2, ["-1"]),
    ]:
        done = system.run(
            "run_client.py", address, "--port", port, "--state", str(system.folder), "vm", "list"
        )
        sentence = one_sentence(done.stderr)
        assert done.returncode == code, sentence
        for word in words:
            assert word in sentence


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["127.0.0.1", "99999", "4"], ["port is", "99999", "65535"]),
        (["127.0.0.1", "5000", "-4"], ["memory", "-4"]),
        (["127.0.0.1", "5000", "much"], ["memory", "much"]),
        (["127.0.0.1"], ["port"]),
        (["127.0.0.1", "5000", "4", "--colour", "red"], ["--colour"]),
        (["127.0.0.1", "5000", "4", "--cpu-overcommit", "0"], ["cpu-overcommit", "0"]),
        (["127.0.0.1", "5000", "4", "--name", "a b"], ["name", "a b"]),
        (["127.0.0.1", "5000", "4", "--join", "hpg1.xx"], ["join token"]),
        (["127.0.0.1", "5000", "4", "--config", "/no/such.toml"], ["/no/such.toml"]),
    ],
)
def test_bad_agent_options(system: System, arguments: list[str], words: list[str]) -> None:
    done = system.run("run_server.py", *arguments, "--state", str(system.folder / "never"))
    sentence = one_sentence(done.stderr)
    assert done.returncode == 2, sentence
    for word in words:
        assert word in sentence
    assert not (system.folder / "never").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--port", "99999"], ["--port", "99999", "65535"]),
        (["--algorithm", "bset"], ["bset", "known are"]),
        (["--colour"], ["--colour"]),
        (["--growth", "much"], ["--growth", "much"]),
        (["--default-image", "a/b"], ["--default-image", "a/b"]),
        (["--config", "/no/such.toml"], ["/no/such.toml"]),
    ],
)
def test_bad_coordinator_options(system: System, arguments: list[str], words: list[str]) -> None:
    done = system.run("run_coordinator.py", *arguments, "--state", str(system.folder / "never"))
    sentence = one_sentence(done.stderr)
    assert done.returncode == 2, sentence
    for word in words:
        assert word in sentence
    assert not (system.folder / "never").exists()


def test_libvirt_that_does_not_answer(system: System, tmp_path: Any) -> None:
    """A socket that accepts and stays silent: refused in time, with the URI in the sentence."""
    pytest.importorskip("libvirt", reason="libvirt-python is not installed")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"qemu+tcp://127.0.0.1:{silent.getsockname()[1]}/system"
        done = system.run(
            "run_server.py", "127.0.0.1", str(system.port), "4", "--hypervisor", uri,
            "--state", str(tmp_path / "a"), "--state-root", str(system.folder),
        )  # fmt: skip
    assert done.returncode == 2
    lines = [line for line in done.stderr.strip().splitlines() if line.startswith("run_server.py:")]
    assert len(lines) == 1
    assert uri in lines[0]


def test_garbage_on_the_socket_changes_nothing(system: System) -> None:
    before = state(system)
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", system.port)) as raw:
            try:
                raw.sendall(os.urandom(4 * 1024 * 1024))
            except OSError:
                continue  # the coordinator hung up, as it may
    with socket.create_connection(("127.0.0.1", system.port)) as raw:
        raw.sendall(b"GET / HTTP/1.0\r\n\r\n")
    assert state(system) == before


async def test_four_mib_from_an_admitted_key_are_refused_by_a_sentence(system: System) -> None:
    import asyncio

    from protocol.codec import JSON, decode
    from protocol.messages import Reply
    from protocol.transport.access import LocalAccess, local_access_path
    from protocol.transport.dealer import Dealer

    access = LocalAccess.load(local_access_path(system.folder))
    dealer = Dealer("127.0.0.1", system.port, access.server_public, access.keys)
    await dealer.connect()
    try:
        for _ in range(100):
            if await dealer.send([JSON, os.urandom(4 * 1024 * 1024)]):
                break
            await asyncio.sleep(0.05)
        answer = decode(await asyncio.wait_for(dealer.receive(), 10)).body
    finally:
        await dealer.close()
    assert isinstance(answer, Reply)
    assert answer.error == "message of 4194304 bytes is over the limit of 2097152 bytes"
    assert system.ask("status")["hosts_up"] == 3


def test_the_prompt_survives_nonsense(system: System) -> None:
    before = state(system)
    done = system.client("greedy", text="lots\n-4\n1e308\nnan\n999999\nstatus\nexit\n")
    assert "3 of 3" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert state(system) == before
