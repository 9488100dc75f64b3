"""One decision beside Ganeti's: `python -m benchmarks.hail [--nodes N ...] [--seed S]`.

Both are given the same cluster and the same VM as a JSON text, read it, decide and answer, each as a process
of its own: Ganeti's allocator `hail` (Debian's ganeti-htools) and `run_client.py simulate place`. Then ours
once more as the coordinator does it, with the cluster in memory. All in CPU time. Unless it is told not to,
hail also sees to it that any node's VMs could be restarted on the others (N+1); so it is measured with and
without that, and so are we.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.clusters import cluster_file
from benchmarks.timing import clock, process
from hpgreedy.model import Claim, Cluster, Demand, Host
from hpgreedy.placement import Fleet, Placed, Placer
from hpgreedy.placement.restart import Restarts

HAIL = Path("/usr/lib/ganeti/iallocators/hail")
CLIENT = Path(__file__).resolve().parent.parent / "run_client.py"
NODES = (100, 500, 1000)
VMS = 10
RUNS = 3
DECISIONS = 500
PATIENCE = 60
"""Seconds after which hail is not waited for."""
MISSING = (
    f"{HAIL} is not there: install Debian's ganeti-htools to measure beside it; "
    "docs/benchmarks.md has the figures that were measured."
)
_SPEC = ("cpu-count", "disk-count", "disk-size", "memory-size", "nic-count", "spindle-use")


def cluster(nodes: int) -> Cluster:
    """Equal hosts with ten VMs of a few sizes each; some room is left everywhere."""
    hosts = {
        f"h{n}": Host(key=f"h{n}", cpu=64, memory=262144, resources={"disk": 4000}, cpu_overcommit=2.0)
        for n in range(nodes)
    }
    claims = []
    for n, host in enumerate(hosts):
        for k in range(VMS):
            cpu = 1 << (n * 7 + k * 3) % 4
            need = {"disk": 20 << (n + k) % 3}
            vm = Demand(key=f"v{n}-{k}", cpu=cpu, memory=cpu * 2048, resources=need)
            claims.append(Claim(demand=vm, host=host))
    return Cluster(hosts, tuple(claims))


def newcomer(key: str = "new") -> Demand:
    """The VM to be placed."""
    return Demand(key=key, cpu=4, memory=8192, resources={"disk": 40})


def request(before: Cluster, vm: Demand) -> dict[str, Any]:
    """What hail is given: the cluster, and a VM on one node with its disk there."""
    nodes = {host.key: _node(before, host) for host in before.hosts.values()}
    return {
        "cluster_tags": [],
        "enabled_hypervisors": ["kvm"],
        "nodegroups": {"group": _group()},
        "nodes": nodes,
        "instances": {
            claim.demand.key: {**_instance(claim.demand), "nodes": [claim.host], "admin_state": "up"}
            for claim in before.claims
        },
        "request": {**_instance(vm), "type": "allocate", "name": vm.key, "required_nodes": 1},
    }


def _node(before: Cluster, host: Host) -> dict[str, Any]:
    used = before.used(host.key)
    disk = host.resources["disk"]
    return {
        "group": "group",
        "drained": False,
        "offline": False,
        "master_candidate": False,
        "master_capable": True,
        "vm_capable": True,
        "primary_ip": "192.0.2.1",
        "secondary_ip": "192.0.2.1",
        "tags": [],
        "total_cpus": host.cpu,
        "total_memory": host.memory,
        "total_disk": disk * 1024,
        "total_spindles": 0,
        "free_memory": host.memory - used.memory,
        "free_disk": (disk - used.resources.get("disk", 0)) * 1024,
        "free_spindles": 0,
        "reserved_cpus": 0,
        "reserved_memory": 0,
        "i_pri_memory": used.memory,
        "i_pri_up_memory": used.memory,
        "ndparams": {"exclusive_storage": False, "oob_program": None, "spindle_count": 1},
    }


def _instance(vm: Demand) -> dict[str, Any]:
    size = vm.resources["disk"] * 1024
    return {
        "admin_state_source": "admin",
        "disk_space_total": size,
        "disk_template": "plain",
        "disks": [{"mode": "rw", "size": size, "spindles": 1}],
        "hypervisor": "kvm",
        "memory": vm.memory,
        "vcpus": vm.cpu,
        "nics": [{"bridge": None, "ip": None, "mac": "52:54:00:00:00:01"}],
        "os": "any",
        "spindle_use": 1,
        "tags": [],
    }


def _group() -> dict[str, Any]:
    least = dict.fromkeys(_SPEC, 1)
    most = dict.fromkeys(_SPEC, 1 << 30)
    policy = {
        "disk-templates": ["plain"],
        "minmax": [{"min": least, "max": most}],
        "std": least,
        "spindle-ratio": 1000.0,
        "vcpu-ratio": 2.0,
    }
    return {"name": "default", "alloc_policy": "preferred", "ipolicy": policy, "networks": [], "tags": []}


def decision(before: Cluster, runs: int) -> float:
    """The median seconds to decide and commit with the cluster in memory."""
    placer = Placer(Fleet(before))
    found = []
    for n in range(DECISIONS * runs):
        vm = newcomer(f"new{n}")
        begun = clock()
        answer = placer.place(vm)
        found.append(clock() - begun)
        assert isinstance(answer, Placed)
        placer.fleet.remove(vm.key, answer.host)
    return statistics.median(found)


def guarded(before: Cluster, runs: int) -> float:
    """The median seconds to decide and to see that no host's death would strand a VM, knowing nothing yet."""
    found = []
    for _ in range(runs):
        placer, vm = Placer(Fleet(before)), newcomer()
        begun = clock()
        answer = placer.decide(vm)
        assert isinstance(answer, Placed)
        losses = Restarts(placer.fleet).caused_by(vm, answer)
        found.append(clock() - begun)
        assert not losses
    return statistics.median(found)


def _hail(path: Path, runs: int, *options: str) -> str:
    try:
        return f"{process([str(HAIL), *options, str(path)], runs, patience=PATIENCE).cpu:.2f} s"
    except subprocess.TimeoutExpired:
        return f"> {PATIENCE} s"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=list(NODES))
    parser.add_argument("--runs", type=int, default=RUNS)
    given = parser.parse_args()
    if not HAIL.exists():
        print(MISSING)
        return 0
    print(f"{'':14} | {'with N+1':^23} | {'without':^34}")
    heads = f"{'nodes':>6} {'VMs':>7} | {'hail':>10} {'in memory':>12} | {'hail':>10} {'ours, file':>11}"
    print(f"{heads} {'in memory':>11}")
    with tempfile.TemporaryDirectory() as folder:
        for nodes in given.nodes:
            before, vm = cluster(nodes), newcomer()
            theirs, ours = Path(folder) / "request.json", Path(folder) / "cluster.json"
            theirs.write_text(json.dumps(request(before, vm)))
            ours.write_text(json.dumps(cluster_file(before, [vm])))
            safe = f"{_hail(theirs, given.runs):>10} {guarded(before, given.runs) * 1000:9.1f} ms"
            plain = _hail(theirs, given.runs, "--no-capacity-checks")
            read = process([sys.executable, str(CLIENT), "simulate", "place", str(ours)], given.runs).cpu
            memory = decision(before, given.runs) * 1e6
            shape = f"{nodes:6} {len(before.claims):7}"
            print(f"{shape} | {safe} | {plain:>10} {read:9.2f} s {memory:8.0f} us", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
