"""Which key opens which coordinator, and joining."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from client_fakes import FakeCoordinator, make_status

from hpgreedy.client.access import Keys, is_own_address
from hpgreedy.client.arguments import Address
from hpgreedy.client.errors import UnreachableError
from hpgreedy.client.main import main
from protocol.transport.access import LocalAccess, local_access_path
from protocol.transport.keys import generate_keys


@pytest.fixture(autouse=True)
def _no_other_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HPGREEDY_STATE", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr("hpgreedy.client.access.default_state_root", lambda: tmp_path / "root")


def save_local(root: Path, address: str = "127.0.0.1", port: int = 5000) -> LocalAccess:
    access = LocalAccess(
        server_public=generate_keys().public, keys=generate_keys(), port=port, address=address, cluster="c"
    )
    access.save(local_access_path(root))
    return access


def test_on_the_head_node_the_local_key_just_works(tmp_path: Path) -> None:
    local = save_local(tmp_path / "root", port=5007)
    for address in (None, Address("127.0.0.1"), Address("localhost"), Address("127.0.0.1", 5007)):
        route = Keys().route(address)
        assert route.keys.public == local.keys.public
        assert route.port == 5007


def test_the_local_key_is_not_shown_to_other_machines(tmp_path: Path) -> None:
    save_local(tmp_path / "root")
    with pytest.raises(UnreachableError) as caught:
        Keys().route(Address("192.0.2.1"))
    assert "join TOKEN" in caught.value.message


def test_a_named_state_folder_is_taken_whatever_the_address(tmp_path: Path) -> None:
    local = save_local(tmp_path / "other", port=5009)
    route = Keys(tmp_path / "other").route(Address("192.0.2.1"))
    assert (route.address, route.port, route.keys.public) == ("192.0.2.1", 5009, local.keys.public)


def test_a_coordinator_that_listens_everywhere_is_reached_by_loopback(tmp_path: Path) -> None:
    save_local(tmp_path / "root", address="0.0.0.0")
    assert Keys().route(None).address == "127.0.0.1"


def test_a_local_key_that_others_may_read_is_refused_with_the_mode(tmp_path: Path) -> None:
    save_local(tmp_path / "root")
    local_access_path(tmp_path / "root").chmod(0o644)
    with pytest.raises(UnreachableError) as caught:
        Keys().route(Address("127.0.0.1"))
    assert "0600" in caught.value.message


def test_own_addresses() -> None:
    assert is_own_address("127.0.0.1")
    assert not is_own_address("192.0.2.1")
    assert not is_own_address("no such name")


def test_joining_keeps_a_key_of_its_own_and_later_verbs_use_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeCoordinator({"status": make_status()}) as coordinator:
        where = f"127.0.0.1:{coordinator.port}"
        assert main([where, "join", coordinator.token, "--json"]) == 0
        joined = json.loads(capsys.readouterr().out)
        assert (joined["cluster"], joined["port"]) == ("test", coordinator.port)
        assert main([where, "status"]) == 0
        assert main(["127.0.0.1", "status"]) == 0
    kept = list((tmp_path / "config" / "hpgreedy").glob("*.json"))
    assert [path.stat().st_mode & 0o777 for path in kept] == [0o600]
    assert coordinator.joins[-1].role == "operator"
    assert coordinator.joins[-1].public_key not in (coordinator.one_time.public, coordinator.admin.public)


def test_the_join_option_joins_once_and_is_harmless_afterwards(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeCoordinator({"status": make_status()}, role="admin") as coordinator:
        line = [f"127.0.0.1:{coordinator.port}", "status", "--join", coordinator.token]
        assert main(line) == 0
        assert main(line) == 0
    assert len(coordinator.joins) == 1


def test_a_token_for_an_agent_is_no_good_here(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeCoordinator({}, role="agent") as coordinator:
        assert main([f"127.0.0.1:{coordinator.port}", "join", coordinator.token]) == 1
        assert main([f"127.0.0.1:{coordinator.port}", "status"]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert "role agent" in first
    assert "no key" in second


@pytest.mark.parametrize("token", ["x", "hpg1.", "hpg1.AAAA", "hpg1.ü"])
def test_a_damaged_token_is_bad_input(token: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["127.0.0.1:1", "join", token]) == 2
    assert "token" in capsys.readouterr().err


def test_joining_needs_an_address(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["join", "hpg1.AAAA"]) == 2
    assert "address" in capsys.readouterr().err
