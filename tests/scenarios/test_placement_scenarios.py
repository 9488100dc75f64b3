"""Every folder of `placement/` is a scenario: a cluster file, and what each algorithm makes of it.

The VMs without a host arrive in file order, with the seed 0; moves are done before the next one comes.
"depth N" after the name of an algorithm says how long a chain of moves is looked for.
"""

import json
from pathlib import Path

import pytest

from hpgreedy.model import cluster_of
from hpgreedy.placement import Fleet, Limits, Placed, Placer, check
from protocol.spec import decode_json, parse_cluster_file

FOLDER = Path(__file__).with_name("placement")
CASES = [
    pytest.param(folder, which, id=f"{folder.name}-{which}")
    for folder in sorted(FOLDER.iterdir())
    if folder.is_dir()
    for which in json.loads((folder / "expected.json").read_text())
]


def event(fleet, demand, answer):
    if isinstance(answer, Placed):
        shown = {"vm": demand.key, "host": answer.host}
        moves = [{"vm": m.vm, "from": m.source, "to": m.target} for m in answer.moves]
        shown |= {"moves": moves} if moves else {}
        return shown | ({"nodes": list(answer.numa_nodes)} if answer.numa_nodes else {})
    rejections = [check(fleet, demand, position) for position, _ in fleet.standing_hosts()]
    return {"vm": demand.key, "refused": {each.host: str(each.reason) for each in rejections}}


@pytest.mark.parametrize(("folder", "which"), CASES)
def test_scenario(folder, which):
    assert (folder / "README.md").read_text().startswith("# ")
    expected = json.loads((folder / "expected.json").read_text())[which]
    cluster, waiting = cluster_of(parse_cluster_file(decode_json((folder / "input.json").read_bytes())))
    algorithm, _, depth = which.partition(" depth ")
    placer = Placer(Fleet(cluster), Limits(depth=int(depth)) if depth else None)
    events, last = [], None
    for demand, wanted in zip(waiting, expected["events"], strict=True):
        answer = placer.decide(demand, algorithm, last=last)
        events.append(event(placer.fleet, demand, answer))
        assert wanted.pop("says", "") in answer.why
        if isinstance(answer, Placed):
            placer.commit(demand, answer)
            last = answer.host
    assert events == expected["events"]
    end = placer.fleet.cluster()
    assert {key: sorted(claim.demand.key for claim in end.claims_on(key)) for key in end.hosts} == expected[
        "end"
    ]


def test_there_are_scenarios():
    assert len(CASES) >= 10
