"""Several agents on one address, restarts, refusals: the programs as processes, hosts simulated."""

from __future__ import annotations

import json
from pathlib import Path

from tests.system.conftest import System


def vm(name: str, memory: float = 1, **more: object) -> dict[str, object]:
    return {"id": name, "cpu": 1, "memory": memory, **more}


def submit(system: System, *vms: dict[str, object], algorithm: str = "first_fit") -> None:
    system.ask("submit", "-", "--algorithm", algorithm, "--wait", text=json.dumps({"vms": list(vms)}))


def where(system: System) -> dict[str, str]:
    return {str(item["id"]): item["host"] for item in system.ask("vm", "list")}


def clear(system: System) -> None:
    for name in where(system):
        system.ask("vm", "delete", name, "--force")


def test_three_agents_on_one_address_are_three_hosts(system: System) -> None:
    hosts = system.ask("host", "list")
    assert sorted(host["name"] for host in hosts) == ["s1", "s2", "s3"]
    assert {host["address"] for host in hosts} == {"127.0.0.1"}
    assert len({host["id"] for host in hosts}) == 3


def test_the_head_node_runs_the_seed_prompt(system: System) -> None:
    done = system.client("first_fit", text="1\n2\nstatus\nexit\n")
    assert done.returncode == 0, done.stderr
    assert len(where(system)) == 2
    clear(system)


def test_reassignment_moves_a_vm_and_then_places_the_new_one(system: System) -> None:
    submit(system, *(vm(f"b{n}", 3, host=f"s{n}") for n in (1, 2, 3)))
    submit(system, *(vm(f"m{n}", 3, host=f"s{n}") for n in (1, 2, 3)))
    refused = system.client("submit", "-", "--algorithm", "first_fit", text=json.dumps(vm("big", 4)))
    assert refused.returncode == 1
    assert "largest that would fit" in refused.stderr
    hopeless = system.client("submit", "-", "--algorithm", "greedy", text=json.dumps(vm("big", 6)))
    assert hopeless.returncode == 1
    assert "no chain of up to 2 live migrations would make room" in hopeless.stderr
    system.ask("vm", "delete", "b3", "--force")
    submit(system, vm("small", 2, host="s3"))
    before = where(system)
    submit(system, vm("big", 5), algorithm="greedy")
    after = where(system)
    moved = [name for name in before if before[name] != after[name]]
    assert len(moved) == 1
    assert after["big"] == before[moved[0]]
    clear(system)


def test_an_exported_cluster_can_be_tried_out_offline(system: System, tmp_path: Path) -> None:
    submit(system, vm("a", 3, host="s1"), vm("b", 5, host="s2"))
    file = tmp_path / "cluster.json"
    assert system.client("export", str(file)).returncode == 0
    content = json.loads(file.read_text())
    assert {each["id"]: each["host"] for each in content["vms"]} == {"a": "s1", "b": "s2"}
    content["vms"].append(vm("new", 4))
    file.write_text(json.dumps(content))
    done = system.run("run_client.py", "simulate", "place", str(file), "--algorithm", "best_fit", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["placements"] == [{"vm": "new", "host": "s1"}]
    clear(system)


def test_killed_coordinator_and_agent_come_back_with_the_same_list(system: System) -> None:
    submit(system, vm("a", host="s1"), vm("b", host="s2"), vm("c", host="s3"))
    before = system.ask("vm", "list")
    system.kill("coordinator")
    system.kill("s2")
    system.start_coordinator()
    system.start_agent("s2")
    system.wait_for("three hosts again", lambda: system.hosts_up(3))

    def same() -> bool:
        keys = ("id", "uuid", "host", "state")
        return [[v[k] for k in keys] for v in system.ask("vm", "list")] == [
            [v[k] for k in keys] for v in before
        ]

    system.wait_for("the same list", same)
    clear(system)


def test_silent_host_shows_its_vms_as_unknown(system: System) -> None:
    submit(system, vm("a", host="s1"))
    system.kill("s1")
    system.wait_for("s1 unreachable", lambda: system.ask("host", "show", "s1")["state"] == "unreachable")
    assert system.ask("vm", "show", "a")["state"] == "unknown"
    assert any("s1" in problem for problem in system.ask("status")["problems"])
    system.start_agent("s1")
    system.wait_for("a runs", lambda: system.ask("vm", "show", "a")["state"] == "running")
    clear(system)


def test_second_agent_with_a_taken_name_or_state_is_refused(system: System) -> None:
    taken = system.agent_command("s1")
    taken[taken.index("--state") + 1] = str(system.folder / "other")
    done = system.run(*taken)
    assert done.returncode == 1
    assert "another host is called s1" in done.stderr
    again = system.run(*system.agent_command("s1"))
    assert again.returncode != 0
    assert str(system.folder / "s1") in again.stderr
    assert system.hosts_up(3)


def test_a_used_token_is_no_good_twice(system: System) -> None:
    token = system.ask("token", "create", "--role", "viewer")["token"]
    address = f"127.0.0.1:{system.port}"
    first = system.run("run_client.py", address, "--state", str(system.folder / "c1"), "join", token)
    assert first.returncode == 0, first.stderr
    second = system.run("run_client.py", address, "--state", str(system.folder / "c2"), "join", token)
    assert second.returncode == 1, second.stderr
    seen = system.run("run_client.py", address, "--state", str(system.folder / "c1"), "vm", "list")
    assert seen.returncode == 0, seen.stderr
    done = system.run(
        "run_client.py",
        address,
        "--state",
        str(system.folder / "c1"),
        "submit",
        "-",
        text=json.dumps(vm("x")),
    )
    assert done.returncode == 1
    assert "needs the role user" in done.stderr


def test_image_goes_to_hosts_and_is_deleted(system: System, tmp_path: object) -> None:
    from pathlib import Path

    disk = Path(str(tmp_path)) / "disk.raw"
    disk.write_bytes(b"x" * 3_000_000)
    system.ask("image", "add", "small", "--disk", str(disk), "--format", "raw")
    submit(system, vm("i", host="s1", image="small"))
    assert system.ask("vm", "show", "i")["image"] == "small"
    held = system.client("image", "delete", "small")
    assert held.returncode == 1
    assert "in use by i" in held.stderr
    clear(system)
    system.ask("image", "delete", "small")
    assert system.ask("image", "list") == []
    system.wait_for(
        "the files are gone", lambda: not list((system.folder / "coordinator" / "images").iterdir())
    )
