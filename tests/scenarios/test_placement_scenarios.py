"""Every folder of `placement/` is a scenario: a cluster file, and what each algorithm makes of it.

The VMs without a host arrive in file order, with the seed 0; moves are done before the next one comes.
"""

import json
from pathlib import Path

import pytest

from hpgreedy.model import cluster_of
from hpgreedy.placement import Placed, carried_out, decide
from protocol.spec import decode_json, parse_cluster_file

FOLDER = Path(__file__).with_name("placement")
CASES = [
    pytest.param(folder, algorithm, id=f"{folder.name}-{algorithm}")
    for folder in sorted(FOLDER.iterdir())
    if folder.is_dir()
    for algorithm in json.loads((folder / "expected.json").read_text())
]


def event(demand, answer):
    if isinstance(answer, Placed):
        moves = [{"vm": m.vm, "from": m.source, "to": m.target} for m in answer.moves]
        return {"vm": demand.key, "host": answer.host} | ({"moves": moves} if moves else {})
    return {"vm": demand.key, "refused": {r.host: str(r.reason) for r in answer.rejections}}


@pytest.mark.parametrize(("folder", "algorithm"), CASES)
def test_scenario(folder, algorithm):
    assert (folder / "README.md").read_text().startswith("# ")
    expected = json.loads((folder / "expected.json").read_text())[algorithm]
    cluster, waiting = cluster_of(parse_cluster_file(decode_json((folder / "input.json").read_bytes())))
    events, last = [], None
    for demand, wanted in zip(waiting, expected["events"], strict=True):
        answer = decide(cluster, demand, algorithm, last=last)
        events.append(event(demand, answer))
        assert wanted.pop("says", "") in answer.why
        if isinstance(answer, Placed):
            cluster = carried_out(cluster, demand, answer)
            last = answer.host
    assert events == expected["events"]
    assert {
        key: sorted(claim.demand.key for claim in cluster.claims_on(key)) for key in cluster.hosts
    } == expected["end"]


def test_there_are_scenarios():
    assert len(CASES) >= 10
