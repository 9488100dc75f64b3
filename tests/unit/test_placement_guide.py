"""The guide for contributors is true: its example, as it stands there, is an algorithm."""

import importlib.util
import re
from pathlib import Path

import pytest

from hpgreedy.model import Claim, Cluster, Demand, Host
from hpgreedy.placement import ALGORITHMS, Placed, decide

GUIDE = Path(__file__).parents[2] / "docs" / "placement.md"


def test_every_algorithm_has_its_paragraph():
    for name in ALGORITHMS:
        assert f"\n**{name}**" in GUIDE.read_text()


def test_the_example_of_the_guide_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert len(blocks) == 1
    path = tmp_path / "fewest_vms.py"
    path.write_text(blocks[0])
    spec = importlib.util.spec_from_file_location("fewest_vms", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(ALGORITHMS, "fewest_vms", module.FEWEST_VMS)
    hosts = {key: Host(key=key, cpu=9, memory=9) for key in ("a", "b")}
    held = Cluster(hosts, (Claim(demand=Demand(key="v", cpu=1, memory=1), host="a"),))
    answer = decide(held, Demand(key="new", cpu=1, memory=1), "fewest_vms")
    assert isinstance(answer, Placed)
    assert (answer.host, answer.runner_up, answer.why) == ("b", "a", "fewest vms: b holds 0")
    assert module.FEWEST_VMS.summary
    full = decide(held, Demand(key="new", cpu=10, memory=1), "fewest_vms")
    assert not isinstance(full, Placed)
