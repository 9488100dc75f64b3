"""The lab starts agents with options that the agent has, those of one host on that host alone."""

import sys
from pathlib import Path
from types import SimpleNamespace

from agent.options import read
from lab.programs import CommandLines
from protocol.transport.access import JoinToken
from protocol.transport.keys import generate_keys


def test_a_hosts_own_options_reach_its_agent_alone():
    lines = CommandLines(
        SimpleNamespace(gateway="127.0.0.1"),  # type: ignore[arg-type]
        sys.executable,
        Path("/run"),
        agent_extra=("--label", "site=a"),
        host_extra={"h2": ("--offer-cpu", "Conroe", "--cpu-overcommit", "4", "--label", "rack=r2")},
    )
    keys = generate_keys()
    token = JoinToken(server_public=keys.public, secret=keys.secret, public=keys.public).encode()

    def options(name: str):
        host = SimpleNamespace(name=name, address="127.0.0.2")
        return read(lines.agent(host, token, 2)[2:])[0]  # type: ignore[arg-type]

    first, second = options("h1"), options("h2")
    assert (first.driver.offer_cpu, first.cpu_overcommit, first.labels) == ("", 1.0, {"site": "a"})
    assert (second.driver.offer_cpu, second.cpu_overcommit) == ("Conroe", 4.0)
    assert second.labels == {"site": "a", "rack": "r2"}
