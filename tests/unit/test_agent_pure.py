"""The agent's pure parts: the coordinator's clock and what a host offers."""

from pathlib import Path

import msgspec
import pytest

from agent.capacity import Machine, offer
from agent.clock import CoordinatorClock
from agent.ports import DriverSettings
from agent.settings import AgentSettings
from protocol.messages import Capacity

SETTINGS = AgentSettings(
    coordinator="127.0.0.1",
    port=5000,
    memory_mib=0,
    state=Path("/x"),
    state_root=Path("/"),
    driver=DriverSettings(hypervisor="simulated", address="127.0.0.1", state=Path("/x")),
)


def test_an_unknown_clock_has_no_time():
    clock = CoordinatorClock()
    assert not clock.known
    assert clock.now(5) is None


def test_it_runs_on_between_samples():
    clock = CoordinatorClock()
    clock.heard(1000, 50)
    assert clock.now(60) == 1010


def test_an_old_message_does_not_turn_it_back():
    clock = CoordinatorClock()
    clock.heard(1000, 50)
    clock.heard(1001, 90)
    assert clock.now(90) == 1040


def test_a_prompt_answer_corrects_it_in_either_direction():
    clock = CoordinatorClock()
    clock.heard(1000, 50)
    clock.heard(500, 60, asked=59.9)
    assert clock.now(60) == 500
    clock.heard(9000, 61, asked=60.5)
    assert clock.now(61) == 9000


def test_a_slow_answer_is_no_correction():
    clock = CoordinatorClock()
    clock.heard(1000, 50)
    clock.heard(1001, 150, asked=51)
    assert clock.now(150) == 1100


@pytest.mark.parametrize(
    ("changes", "machine", "cpus", "memory"),
    [
        ({}, Machine(cpus=8, memory_mib=16384), 8, 15360),
        ({}, Machine(cpus=64, memory_mib=99999), 16, 31744),
        ({"memory_mib": 4096}, Machine(cpus=64, memory_mib=99999), 16, 4096),
        ({"memory_mib": 99999}, Machine(cpus=64, memory_mib=99999), 16, 31744),
        ({"reserve_memory_mib": 2048, "reserve_cpu": 2}, Machine(cpus=8, memory_mib=16384), 6, 14336),
        ({"reserve_memory_mib": 999999, "reserve_cpu": 99}, Machine(cpus=8, memory_mib=16384), 0, 0),
        ({"memory_mib": 8192}, None, 16, 8192),
    ],
)
def test_a_host_offers_the_smaller_less_the_reserve_and_capped(changes, machine, cpus, memory):
    settings = msgspec.structs.replace(SETTINGS, **changes)
    found = offer(Capacity(cpus=16, memory_mib=32768), machine, settings)
    assert (found.cpus, found.memory_mib) == (cpus, memory)


def test_overcommit_and_resources_are_passed_on():
    settings = msgspec.structs.replace(
        SETTINGS, cpu_overcommit=4.0, memory_overcommit=1.5, resources={"gpu": 2}
    )
    found = offer(Capacity(cpus=1, memory_mib=9999), None, settings)
    assert (found.cpu_overcommit, found.memory_overcommit, found.resources) == (4.0, 1.5, {"gpu": 2})
