"""The long matrix: guests that dirty memory are moved back and forth, and none loses a page or a count."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.live.conftest import Live

CASES = list(itertools.product([0, 4, 16], [1, 2], [None, 400]))


@pytest.mark.long
@pytest.mark.parametrize(("dirty", "cpus", "mbit"), CASES)
def test_back_and_forth(live: Live, dirty: int, cpus: int, mbit: int | None) -> None:
    vm: dict[str, Any] = {
        "id": "traveller",
        "cpu": cpus,
        "memory": "192MiB",
        "host": "h1",
        "kernel": {"cmdline": f"hpg.dirty={dirty} hpg.area=32"},
    }
    live.submit([vm])
    live.wait_booted("traveller")
    first = live.count("traveller")
    last = first["count"]
    try:
        for host in ("h1", "h2"):
            live.lab.limit(host, mbit)
        for target in ("h2", "h1", "h3", "h1"):
            op = live.ask("vm", "migrate", "traveller", "--to", target)["operations"][0]
            assert op["ok"], op
            now = live.count("traveller")
            assert now["start_id"] == first["start_id"]
            assert now["count"] > last
            assert (now["mem"], now["disk"]) == ("ok", "ok")
            last = now["count"]
            names = live.virsh_list("--all")
            assert [host for host, found in names.items() if "traveller" in found] == [target]
    finally:
        for host in ("h1", "h2"):
            live.lab.limit(host, None)
