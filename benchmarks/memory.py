"""What a fleet takes in memory: `python -m benchmarks.memory [--hosts N] [--vms N]`, a number of MiB."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from pathlib import Path

from benchmarks.clusters import ZONES, demands, hosts
from hpgreedy.model import Cluster
from hpgreedy.placement import Fleet, Placed, Placer

MIB = 1024 * 1024


def resident() -> float:
    """The MiB of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def grown(host_count: int, vm_count: int, seed: int) -> float:
    """By how many MiB the process grows with the hosts, the VMs and all that is kept to find room for more.

    Every VM has an id, resources and labels of its own, as those read from a file have.
    """
    gc.collect()
    before = resident()
    placer = Placer(Fleet(Cluster(hosts(host_count, seed, roomy=2))))
    placed = 0
    for demand in demands(vm_count, seed, flavours=False, zones=ZONES):
        placed += isinstance(placer.place(demand), Placed)
    if placed < vm_count:
        raise RuntimeError(f"{vm_count - placed} of {vm_count} VMs found no host")
    gc.collect()
    return resident() - before


def main() -> int:
    """Print the number."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--vms", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(f"{grown(given.hosts, given.vms, given.seed):.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
