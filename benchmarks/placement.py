"""What the placer costs: `python -m benchmarks.placement [--quick] [--data FILE] [--only PART ...]`.

Clusters are generated from a seed; --data takes a cluster file instead for the decisions, such as one of
balance/skewed_*. Every figure is the median of several runs, in CPU time, and beside its target where there
is one; --quick is smaller clusters and one run. docs/benchmarks.md says what each part is.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.clusters import ZONES, cluster_file, demands, hosts
from benchmarks.decisions import Course, Measured, courses, given, measure
from benchmarks.refusals import Case, explanations, rooms
from benchmarks.timing import Process, process
from hpgreedy.model import Cluster, cluster_of
from hpgreedy.placement import ALGORITHMS
from protocol.spec import decode_json, parse_cluster_file

CLIENT = Path(__file__).resolve().parent.parent / "run_client.py"
COMPARED = ("first_fit", "best_fit", "greedy")
TARGETS = {"first_fit": 50_000, "best_fit": 50_000, "greedy": 20_000}
"""Placements a second on 10,000 hosts; on 100,000 half of that."""
P99_US = 300
FEW = 10_000
"""Larger fleets take so long to make that they are measured less often."""
EXPLAIN_MS, ROOM_MS = 100, 50
MEMORY_MIB = 500
SIMULATE_S, START_S = 2.0, 0.4


class Size:
    """How much is measured."""

    def __init__(self, quick: bool) -> None:
        self.hosts = (1_000,) if quick else (10_000, 100_000)
        self.steps = 2_000 if quick else 20_000
        self.scans = 200 if quick else 1_000
        self.runs = 1 if quick else 5
        self.explained = 1_000 if quick else 10_000
        self.moved = 100 if quick else 1_000
        self.vms = 10_000 if quick else 100_000
        self.simulated = (100, 1_000) if quick else (1_000, 10_000)


def verdict(value: float, target: float, *, least: bool = False) -> str:
    """Whether the target is met, and by how much it is missed."""
    met = value >= target if least else value <= target
    return "met" if met else f"missed by {abs(value / target - 1):.0%}"


def show_decisions(size: Size, seed: int, data: Path | None) -> None:
    """Decide and commit."""
    print(
        f"{'decide and commit':27} {'hosts':>7} {'VMs':>7} {'algorithm':15} {'VMs/s':>8} {'p50 us':>7} "
        f"{'p99 us':>7} {'max us':>8} {'x scan':>7}  target"
    )
    if data is not None:
        cluster, coming = cluster_of(parse_cluster_file(decode_json(data.read_bytes()), simulation=True))
        course = given(cluster, coming, size.steps, seed)
        for algorithm in ALGORITHMS:
            _show(course, algorithm, measure(course, algorithm, size.runs, size.scans))
        return
    for count in size.hosts:
        for make in courses(count, size.steps, seed):
            course = make()
            runs = size.runs if count <= FEW else min(size.runs, 3)
            for algorithm in COMPARED:
                _show(course, algorithm, measure(course, algorithm, runs, size.scans))


def _show(course: Course, algorithm: str, found: Measured) -> None:
    count = len(course.cluster.hosts)
    times = found.times
    ratio = f"{times.rate / found.scan.rate:7.1f}" if found.scan is not None else f"{'':>7}"
    target = ""
    if algorithm in TARGETS and count in (10_000, 100_000):
        wanted = TARGETS[algorithm] / (1 if count == 10_000 else 2)
        target = f"{wanted:,.0f}/s {verdict(times.rate, wanted, least=True)}"
        if count == 10_000:
            target += f", p99 {verdict(times.p99, P99_US)}"
    refused = f" ({found.refused} refused)" if found.refused else ""
    print(
        f"{course.name:27} {count:7} {len(course.cluster.claims):7} {algorithm:15} {times.rate:8.0f} "
        f"{times.p50:7.0f} {times.p99:7.0f} {times.longest:8.0f} {ratio}  {target}{refused}",
        flush=True,
    )


def show_cases(title: str, cases: list[Case], target: float) -> None:
    """Milliseconds of single questions."""
    print(f"\n{title:44} {'ms':>7} {'max ms':>7}  outcome")
    for case in cases:
        print(
            f"{case.name:44} {case.median:7.1f} {case.longest:7.1f}  {case.outcome}; "
            f"{target:.0f} ms {verdict(case.longest, target)}",
            flush=True,
        )


def show_memory(size: Size) -> None:
    """A fleet in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.memory", "--vms", str(size.vms)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True, cwd=CLIENT.parent)
    mib = float(ended.stdout)
    print(f"\n{size.vms} VMs on 10,000 hosts take {mib:.0f} MiB; {MEMORY_MIB} MiB {verdict(mib, MEMORY_MIB)}")


def show_processes(size: Size, seed: int) -> None:
    """The client from its start to its end."""
    print(f"\n{'whole process':58} {'CPU s':>6} {'wall s':>7}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cluster.json"
        path.write_text(json.dumps(_simulated(*size.simulated, seed)))
        for algorithm in ALGORITHMS:
            words = ["simulate", "place", str(path), "--algorithm", algorithm]
            found = process([sys.executable, str(CLIENT), *words], size.runs)
            name = f"simulate place, {size.simulated[1]} VMs, {size.simulated[0]} hosts, {algorithm}"
            _show_process(name, found, None if ALGORITHMS[algorithm].batch else SIMULATE_S)
    starts = ((["--help"], 0), (["simulate", "place", "--help"], 0), (["127.0.0.1:9", "status"], 1))
    for words, code in starts:
        found = process([sys.executable, str(CLIENT), *words], max(size.runs, 3), code=code)
        _show_process(" ".join(words), found, START_S)


def _simulated(host_count: int, vm_count: int, seed: int) -> dict[str, object]:
    vms = demands(vm_count, seed, flavours=False, zones=ZONES)
    return cluster_file(Cluster(hosts(host_count, seed, roomy=2)), vms)


def _show_process(name: str, found: Process, target: float | None) -> None:
    told = "" if target is None else f"{target} s {verdict(found.cpu, target)} in CPU time"
    print(f"{name:58} {found.cpu:6.2f} {found.wall:7.2f}  {told}", flush=True)


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data", type=Path, metavar="FILE")
    read = parser.parse_known_args()[0]
    size, seed = Size(read.quick), read.seed
    parts: dict[str, Callable[[], None]] = {
        "decisions": lambda: show_decisions(size, seed, read.data),
        "explanations": lambda: show_cases(
            f"explain a refusal on {size.explained} hosts",
            explanations(size.explained, seed, size.runs + 2),
            EXPLAIN_MS,
        ),
        "rooms": lambda: show_cases(
            f"make room on {size.moved} hosts", rooms(size.moved, seed, size.runs + 2), ROOM_MS
        ),
        "memory": lambda: show_memory(size),
        "processes": lambda: show_processes(size, seed),
    }
    parser.add_argument("--only", nargs="+", choices=sorted(parts), default=list(parts))
    for part in parser.parse_args().only:
        parts[part]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
