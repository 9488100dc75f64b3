"""The packing benchmark counts hosts rightly; how long it takes is never part of a test."""

import json
from pathlib import Path

from benchmarks.packing import generated, read, run


def test_a_folder_with_an_index_is_read_and_its_hosts_are_counted(tmp_path: Path) -> None:
    hosts = [{"id": n, "cpu": 10, "memory": 10, "resources": {"disk": 10}} for n in range(3)]
    needs = [(4, 0, 1), (0, 6, 1), (6, 4, 8), (9, 9, 9), (9, 9, 9)]
    vms = [
        {"id": f"v{n}", "cpu": cpu, "memory": memory, "resources": {"disk": disk}}
        for n, (cpu, memory, disk) in enumerate(needs)
    ]
    (tmp_path / "one.json").write_text(json.dumps({"hosts": hosts, "vms": vms}))
    (tmp_path / "other.json").write_text("not of this set")
    facts = {"instance": "one", "lower_bound": 3, "best_published_heuristic": 3}
    (tmp_path / "index.json").write_text(json.dumps([facts]))
    instances = read(tmp_path)
    assert [(each.bound, each.best_known, len(each.demands)) for each in instances] == [(3, 3, 5)]
    found = run(instances, "best_fit", seed=0, largest_first=False)
    assert (found.hosts, found.unplaced, found.moves) == (3, 0, 0)
    assert run(instances, "next_fit", seed=0, largest_first=False).unplaced == 2


def test_generated_instances_follow_from_the_seed() -> None:
    one, again, other = generated(1), generated(1), generated(2)
    assert one.demands == again.demands != other.demands
    found = run([one], "best_fit", seed=0, largest_first=True)
    assert one.bound <= found.hosts < len(one.cluster.hosts)
    assert found.unplaced == 0
