"""The story: hosts, coordinator, agents, a request, running guests, one live migration, a table."""

import json
import subprocess
import sys
import time
from typing import Any

from lab.quickstart.stage import IMAGE, Stage, StageError, ask

BOOT_SECONDS = 120
AGENT_SECONDS = 60


class Teller:
    """Prints progress with the time since the start."""

    def __init__(self) -> None:
        self.start = time.monotonic()

    def say(self, sentence: str) -> None:
        """Print a line."""
        print(f"[{time.monotonic() - self.start:5.1f} s] {sentence}", flush=True)


def tell(stage: Stage) -> None:
    """Play the whole story. Raises StageError or LabError with the reason when something fails."""
    teller = Teller()
    print(f"HP Greedy quickstart: {stage.title}\n")
    if stage.clear():
        teller.say("Removed what an earlier quickstart had left")
    teller.say(stage.raise_hosts())
    teller.say(f"The coordinator listens on {stage.start_coordinator()}")
    ask(stage, "image", "add", IMAGE, *stage.image_arguments(), timeout=120)
    teller.say(f"Image {IMAGE} added: what the VMs boot from")
    _start_agents(stage, teller)
    _submit(stage, teller)
    vms = _wait_for_boot(stage, teller)
    moved = _migrate(stage, teller, vms[0])
    _finish(stage, moved)


def _start_agents(stage: Stage, teller: Teller) -> None:
    for host in stage.host_names:
        stage.start_agent(host)
    deadline = time.monotonic() + AGENT_SECONDS
    while True:
        _check(stage)
        up = [host for host in ask(stage, "host", "list") if host["state"] == "up"]
        if len(up) == len(stage.host_names):
            break
        if time.monotonic() > deadline:
            raise StageError(f"only {len(up)} of {len(stage.host_names)} agents came up")
        time.sleep(0.3)
    how = {(host["accelerator"], host["accelerator_reason"]) for host in up}
    teller.say(f"{len(up)} agents are up: {', '.join(host['name'] for host in up)}")
    for kind, reason in sorted(how):
        teller.say(f"Guests run under {kind}: {reason}")


def _submit(stage: Stage, teller: Teller) -> None:
    teller.say("Submitting examples/request.json")
    process = stage.open_client(["submit", "examples/request.json", "--wait", "--timeout", "120"])
    assert process.stdout is not None
    for line in process.stdout:
        teller.say(f"  {line.rstrip()}")
    if process.wait() != 0:
        raise StageError("the request failed; the lines above say why")


def _wait_for_boot(stage: Stage, teller: Teller) -> list[dict[str, Any]]:
    vms: list[dict[str, Any]] = ask(stage, "vm", "list")
    waiting = [str(vm["id"]) for vm in vms]
    teller.say(f"Waiting until {', '.join(waiting)} have booted (their consoles say so)")
    deadline = time.monotonic() + BOOT_SECONDS
    while waiting:
        _check(stage)
        for name in list(waiting):
            text = ask(stage, "vm", "console-log", name)["text"]
            booted = [line for line in text.splitlines() if "hpg-guest: booted" in line]
            if booted:
                waiting.remove(name)
                teller.say(f"  {name}: {booted[-1].strip()}")
        if waiting and time.monotonic() > deadline:
            raise StageError(f"{', '.join(waiting)} did not boot within {BOOT_SECONDS} s")
        time.sleep(0.5)
    return vms


def _migrate(stage: Stage, teller: Teller, vm: dict[str, Any]) -> dict[str, Any]:
    name, source = str(vm["id"]), vm["host"]
    before = _first_count(stage, vm)
    teller.say(f"{name} on {source} has counted to {before['count']}; now it moves, live, while it counts")
    process = stage.open_client(["vm", "migrate", name, "--json"])
    after, silence, fetched = _watch(stage, vm, process, before)
    output = process.stdout.read() if process.stdout is not None else ""
    if process.returncode != 0:
        raise StageError(f"the migration failed: {output.strip()[-500:]}")
    answer = json.loads(output)
    op = answer["operations"][0] if "operations" in answer else answer
    if after["start_id"] != before["start_id"] or after["count"] < before["count"]:
        raise StageError(f"{name} did not go on: it said {before} before and {after} after the migration")
    teller.say(f"{name} is on {op['target']} and counts on: {before['count']} → {after['count']}, same start")
    return {"op": op, "silence": silence, "fetched": fetched, "name": name}


def _first_count(stage: Stage, vm: dict[str, Any]) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = stage.count(vm)
        if found is not None:
            return found
        time.sleep(0.2)
    raise StageError(f"{vm['id']} booted, but nothing answers with its count")


def _watch(
    stage: Stage, vm: dict[str, Any], process: "subprocess.Popen[str]", before: dict[str, Any]
) -> tuple[dict[str, Any], float, int]:
    """Fetch the count until the migration is over and once more; the longest silence in seconds."""
    last, heard, silence, fetched = before, time.monotonic(), 0.0, 0
    deadline = time.monotonic() + 120
    while True:
        over = process.poll() is not None
        found = stage.count(vm)
        if found is not None:
            silence = max(silence, time.monotonic() - heard)
            last, heard, fetched = found, time.monotonic(), fetched + 1
            if over:
                return last, silence, fetched
        elif time.monotonic() > deadline or (over and time.monotonic() - heard > 20):
            raise StageError(f"{vm['id']} has not answered for {time.monotonic() - heard:.0f} s")
        time.sleep(0.05)


def _finish(stage: Stage, moved: dict[str, Any]) -> None:
    op = moved["op"]
    outcome = op["outcome"]
    print()
    done = stage.client(["vm", "list"])
    print(done.stdout.rstrip())
    print()
    print(
        f"{moved['name']} moved from {op['source']} to {op['target']} in {outcome['total_ms'] / 1000:.2f} s, "
        f"downtime {outcome['downtime_ms']} ms ({outcome['transferred'] / 1e6:.1f} MB sent); "
        f"a client that fetched its count {moved['fetched']} times meanwhile "
        f"waited {moved['silence']:.2f} s at most."
    )
    print("\nWhat to type next:")
    for line in stage.next_commands():
        print(f"  {line}")
    sys.stdout.flush()


def _check(stage: Stage) -> None:
    problem = stage.program_problem()
    if problem:
        raise StageError(problem)
