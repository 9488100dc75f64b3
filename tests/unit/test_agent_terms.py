"""On what terms a host takes VMs: which plans and migrations it refuses, and with which words."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.terms import Terms, bad_cap, cpu_list, planned_nodes, refuse_mispinned, refuse_unfit
from protocol.commands import CommandError, Migrate, Stamp, VmPlan
from protocol.messages import NumaFacts
from protocol.spec import Memory, VmSpec

UUID = "0a0b0c0d-1111-4222-8333-444455556666"
NODES = tuple(NumaFacts(node=n, cpuset=f"{2 * n}-{2 * n + 1}", cpus=2, memory_mib=4096) for n in (0, 2))
TERMS = Terms(pool="hpgreedy", cpu_models=("Conroe", "Nehalem"), numa=NODES)


def plan_of(spec: dict | None = None, **plan) -> VmPlan:
    return VmPlan(
        spec=VmSpec(id="web", cpu=2, memory=Memory(512), **(spec or {})),
        uuid=UUID,
        macs=(),
        max_cpu=4,
        max_memory_mib=1024,
        stamp=Stamp(operation="1", owner="o", cluster="c"),
        **plan,
    )


@pytest.mark.parametrize(
    ("spec", "plan"),
    [
        ({}, {}),
        ({"pool": "hpgreedy"}, {}),
        ({"cpu_model": "Nehalem"}, {"cpu_model": "Conroe"}),
        ({"numa": 1}, {}),
        ({"numa": 2}, {"numa_nodes": (2, 0)}),
    ],
)
def test_what_is_to_be_had_is_taken(spec, plan):
    refuse_unfit(plan_of(spec, **plan), TERMS)


@pytest.mark.parametrize(
    ("spec", "plan", "code", "words"),
    [
        ({"pool": "fast"}, {}, "refused", "pool fast, and this host keeps VMs in the pool hpgreedy"),
        ({}, {"cpu_model": "Haswell"}, "refused", "CPU model Haswell, .*the richest of them is Nehalem"),
        ({"numa": 1}, {"numa_nodes": (1,)}, "refused", "this host has no node 1; its nodes are 0, 2"),
        ({"numa": 2}, {"numa_nodes": (0, 3)}, "refused", "nodes 0, 3, and this host has no node 3"),
        ({"numa": 2}, {"numa_nodes": (0, 0)}, "bad_arguments", "there must be 2 of them, .* each once"),
        ({}, {"numa_nodes": (0,)}, "bad_arguments", "there must be none of them"),
        ({"numa": 2}, {"numa_nodes": (0,)}, "bad_arguments", "there must be 2 of them"),
    ],
)  # fmt: skip
def test_what_is_not_is_refused_with_a_sentence(spec, plan, code, words):
    with pytest.raises(CommandError, match=words) as caught:
        refuse_unfit(plan_of(spec, **plan), TERMS)
    assert caught.value.code == code
    assert caught.value.message.endswith("nothing was changed")


def test_a_host_that_knows_nothing_offers_nothing():
    with pytest.raises(CommandError, match="there are none"):
        refuse_unfit(plan_of(cpu_model="Conroe"), Terms(pool="hpgreedy"))
    with pytest.raises(CommandError, match="its nodes are not known"):
        refuse_unfit(plan_of({"numa": 1}, numa_nodes=(0,)), Terms(pool="hpgreedy"))


def test_nodes_come_in_the_order_of_the_plan():
    assert planned_nodes(plan_of({"numa": 2}, numa_nodes=(2, 0)), NODES) == (NODES[1], NODES[0])
    assert planned_nodes(plan_of(), NODES) == ()


def test_an_order_names_as_many_nodes_as_the_vm_is_pinned_to():
    order = Migrate(uuid=UUID, target_uri="u", target_address="a", copy=False)
    refuse_mispinned("web", 0, order)
    refuse_mispinned("web", 2, msgspec.structs.replace(order, numa=NODES))
    for pinned, numa in ((1, ()), (0, NODES[:1]), (1, NODES)):
        with pytest.raises(CommandError, match=f"pinned to {pinned} NUMA nodes here.* names {len(numa)}"):
            refuse_mispinned("web", pinned, msgspec.structs.replace(order, numa=numa))


def test_a_bad_cap_names_what_would_be_right():
    near = bad_cap("Nehalm", "which is unknown", ("Conroe", "Nehalem", "Haswell")).message
    assert near.startswith("offer-cpu is 'Nehalm', which is unknown;")
    assert near.endswith("such as Nehalem")
    far = bad_cap("zzz", "which is unknown", ("a", "b", "c", "d")).message
    assert far.endswith("such as d or c or b")
    assert bad_cap("zzz", "which is unknown", ()).message.endswith("but libvirt names none")


@given(st.sets(st.integers(0, 300)))
def test_a_cpu_list_holds_exactly_its_cpus_in_the_fewest_runs(cpus):
    runs = [tuple(map(int, run.split("-"))) for run in cpu_list(cpus).split(",") if run]
    read = [cpu for run in runs for cpu in range(run[0], run[-1] + 1)]
    assert read == sorted(cpus)
    assert all(left[-1] + 1 < right[0] for left, right in itertools.pairwise(runs))
