"""Live migration between hosts without shared storage: the disks are copied."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from lab.api import Lab
from tests.live.conftest import Live, bring_up
from tests.live.test_main_job import small


@pytest.fixture(scope="module")
def apart() -> Iterator[Live]:
    lab = Lab.up(f"l{os.getpid() % 100000}", 2, "local")
    live = bring_up(lab, "cluster", memory_gib=2)
    yield live
    live.cluster.stop()
    lab.down()


def test_disks_are_copied_and_the_source_is_clean(apart: Live) -> None:
    apart.submit([small("carried", host="h1", disks=[{"size": "32MiB"}], cloud_init={"hostname": "c"})])
    apart.wait_booted("carried")
    before = apart.count("carried")
    assert before["disk"] == "ok"
    uuid = apart.vms()["carried"]["uuid"]
    op = apart.ask("vm", "migrate", "carried", timeout=180)["operations"][0]
    assert op["ok"], op
    after = apart.count("carried")
    assert after["start_id"] == before["start_id"]
    assert after["count"] > before["count"]
    assert (after["mem"], after["disk"]) == ("ok", "ok")

    def files(host: str) -> set[str]:
        return {
            path.name for path in apart.lab.host(host).pool_folder.iterdir() if path.name.startswith(uuid)
        }

    assert files("h1") == set()
    assert len(files("h2")) == 3
    assert apart.virsh_list("--all") == {"h1": set(), "h2": {"carried"}}
    apart.ask("vm", "delete", "carried", "--force")
    assert files("h2") == set()
