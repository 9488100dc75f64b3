"""How many hosts each algorithm fills: `python -m benchmarks.packing [--data FOLDER] [--largest-first] …`.

Instances are generated from a seed; --data takes a folder of cluster files instead, and compares with the
folder's index.json ("lower_bound", "optimum" where it is known, and "best_published_heuristic" by "instance")
where there is one. VMs come one at a time in the order of the file: an algorithm sees none of those that
follow, but `packed`, which sees all of them and has --seconds for each instance. --largest-first sorts them
before, as offline heuristics do.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

from hpgreedy.model import Cluster, Demand, Host, cluster_of
from hpgreedy.placement import ALGORITHMS, Fleet, Limits, Placed, place_all
from protocol.spec import decode_json, parse_cluster_file

INSTANCES = 6
CAPACITY = 1000


class Instance(NamedTuple):
    """Empty hosts and the VMs for them; how few hosts are needed at least, and what others needed."""

    cluster: Cluster
    demands: tuple[Demand, ...]
    bound: int
    best_known: int | None = None


class Result(NamedTuple):
    """Hosts in use, VMs without one, live migrations and seconds, over all instances."""

    hosts: int
    unplaced: int
    moves: int
    seconds: float


def generated(seed: int, vms: int = 120) -> Instance:
    """Three resources; some VMs need much of one, others of all."""
    rng = random.Random(seed)
    hosts = {
        f"h{n}": Host(key=f"h{n}", cpu=CAPACITY, memory=CAPACITY, resources={"disk": CAPACITY})
        for n in range(vms)
    }
    demands = []
    for n in range(vms):
        cpu, memory, disk = (rng.randint(50, 400) for _ in range(3))
        demands.append(Demand(key=f"vm{n}", cpu=cpu, memory=memory, resources={"disk": disk}))
    return Instance(Cluster(hosts), tuple(demands), volume_bound(demands))


def volume_bound(demands: list[Demand]) -> int:
    """The hosts that the scarcest resource needs, if VMs could be cut to pieces."""
    totals = (
        sum(demand.cpu for demand in demands),
        sum(demand.memory for demand in demands),
        sum(demand.resources.get("disk", 0) for demand in demands),
    )
    return -(-max(totals) // CAPACITY)


def read(folder: Path) -> list[Instance]:
    """The cluster files of a folder that its index names; all of them without an index."""
    index = folder / "index.json"
    known = {each["instance"]: each for each in json.loads(index.read_text())} if index.exists() else {}
    instances = []
    for path in sorted(folder.glob("*.json")):
        if path == index or (known and path.stem not in known):
            continue
        cluster, demands = cluster_of(parse_cluster_file(decode_json(path.read_bytes()), simulation=True))
        facts = known.get(path.stem, {})
        bound = facts.get("optimum") or facts.get("lower_bound", 0)
        best = facts.get("best_published_heuristic")
        instances.append(Instance(cluster, demands, bound, best))
    return instances


def size(fleet: Fleet, demand: Demand) -> float:
    """The sum of what a VM needs, as shares of the largest host."""
    return sum(amount / fleet.columns[row].largest for row, amount in fleet.needs(demand))


def run(
    instances: list[Instance], algorithm: str, seed: int, largest_first: bool, seconds: float = 8.0
) -> Result:
    """Place every instance's VMs."""
    limits = Limits(packing_seconds=seconds, packing_rounds=10**9, clock=time.monotonic)
    hosts = unplaced = moves = 0
    begun = time.perf_counter()
    for instance in instances:
        demands = list(instance.demands)
        if largest_first:
            demands.sort(key=partial(size, Fleet(instance.cluster)), reverse=True)
        batch = place_all(instance.cluster, demands, algorithm, seed=seed, limits=limits)
        hosts += sum(1 for key in batch.cluster.hosts if batch.cluster.claims_on(key))
        placed = [answer for answer in batch.answers if isinstance(answer, Placed)]
        unplaced += len(batch.answers) - len(placed)
        moves += sum(len(answer.moves) for answer in placed)
    return Result(hosts, unplaced, moves, time.perf_counter() - begun)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, metavar="FOLDER")
    parser.add_argument("--largest-first", action="store_true")
    parser.add_argument("--seconds", type=float, default=8.0, help="what packed has for an instance")
    parser.add_argument("--algorithms", nargs="+", choices=sorted(ALGORITHMS), default=sorted(ALGORITHMS))
    given = parser.parse_args()
    if given.data is None:
        instances = [generated(given.seed + n) for n in range(INSTANCES)]
    else:
        instances = read(given.data)
    bound = sum(instance.bound for instance in instances)
    best = [instance.best_known for instance in instances if instance.best_known is not None]
    vms = sum(len(instance.demands) for instance in instances)
    print(f"{len(instances)} instances, {vms} VMs; at least {bound} hosts are needed", end="")
    print(f", the best published heuristics use {sum(best)}" if len(best) == len(instances) else "")
    print(f"{'algorithm':16} {'hosts':>6} {'over bound':>11} {'unplaced':>9} {'moves':>6} {'seconds':>8}")
    for algorithm in given.algorithms:
        found = run(instances, algorithm, given.seed, given.largest_first, given.seconds)
        over = f"{found.hosts / bound - 1:.1%}" if bound else "-"
        figures = f"{found.hosts:6} {over:>11} {found.unplaced:9} {found.moves:6} {found.seconds:8.1f}"
        print(f"{algorithm:16} {figures}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
