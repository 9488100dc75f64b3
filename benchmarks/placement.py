"""What a placement decision costs: `python -m benchmarks.placement [--hosts N ...] [--seed S] [--data FILE]`.

Clusters are generated from a seed; --data takes a cluster file instead, such as one of balance/skewed_*.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from hpgreedy.model import Claim, Cluster, Demand, Host, cluster_of
from hpgreedy.placement import ALGORITHMS, Placed, decide
from protocol.spec import decode_json, parse_cluster_file

DECISIONS = 300
RUNS = 3


def generated(hosts: int, seed: int) -> Cluster:
    """Hosts of two sizes with eight VMs each."""
    rng = random.Random(seed)
    made = {
        f"h{n}": Host(
            key=f"h{n}", cpu=rng.choice([32, 64]), memory=rng.choice([131072, 262144]), cpu_overcommit=4
        )
        for n in range(hosts)
    }
    claims = (
        Claim(demand=demand(rng, f"old{n}-{k}"), host=name) for n, name in enumerate(made) for k in range(8)
    )
    return Cluster(made, tuple(claims))


def demand(rng: random.Random, key: str) -> Demand:
    """A VM of an ordinary size."""
    return Demand(key=key, cpu=rng.choice([1, 2, 4, 8]), memory=rng.choice([1024, 2048, 4096, 8192]))


def measure(cluster: Cluster, algorithm: str, seed: int) -> tuple[float, float, int]:
    """Decisions a second, the 99th percentile in milliseconds, and how many were placed."""
    rng = random.Random(seed)
    demands = [demand(rng, f"new{n}") for n in range(DECISIONS)]
    times, placed = [], 0
    for wanted in demands:
        begun = time.perf_counter()
        answer = decide(cluster, wanted, algorithm)
        if isinstance(answer, Placed) and not answer.moves:
            cluster = cluster.with_claim(Claim(demand=wanted, host=answer.host))
            placed += 1
        times.append(time.perf_counter() - begun)
    return len(times) / sum(times), statistics.quantiles(times, n=100)[98] * 1000, placed


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, metavar="FILE")
    given = parser.parse_args()
    clusters: list[Callable[[int], Cluster]] = [lambda seed, n=n: generated(n, seed) for n in given.hosts]
    if given.data is not None:
        read = cluster_of(parse_cluster_file(decode_json(given.data.read_bytes())))[0]
        clusters = [lambda _seed: read]
    print(f"{'algorithm':12} {'hosts':>6} {'VMs':>7} {'decisions/s':>12} {'p99 ms':>8} {'placed':>7}")
    for make in clusters:
        for algorithm in ALGORITHMS:
            runs = sorted(measure(make(given.seed + n), algorithm, given.seed + n) for n in range(RUNS))
            rate, p99, placed = runs[RUNS // 2]
            cluster = make(given.seed)
            shape = f"{len(cluster.hosts):6} {len(cluster.claims):7}"
            print(f"{algorithm:12} {shape} {rate:12.0f} {p99:8.2f} {placed:7}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
