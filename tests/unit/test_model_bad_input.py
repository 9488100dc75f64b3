"""What is wrong in a cluster file is named by field and value, with what would be right."""

import pytest

from hpgreedy.model import cluster_of
from protocol.spec import SpecError, VmSpec, decode_spec, parse_cluster_file

HOST = {"id": "h1", "cpu": 8, "memory": 16}
VM = {"id": "v", "cpu": 1, "memory": 1}
MEMORY = 'it must be a number of GiB, or a string such as "8192MiB" or "2GiB", between 1 MiB and 65536 GiB'
HUGE = 10**400


def refusal(file):
    with pytest.raises(SpecError) as caught:
        cluster_of(parse_cluster_file(file))
    assert caught.value.field in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"cpu_overcommit": 0}, "cpu_overcommit is 0; it must be a number of at least 0.1"),
        ({"cpu_overcommit": -1}, "cpu_overcommit is -1; it must be a number of at least 0.1"),
        ({"memory_overcommit": 1e308}, "memory_overcommit is 1e+308; it must be a number of at most 1000.0"),
        ({"cpu": 1e308}, "cpu is 1e+308; it must be a whole number"),
        ({"cpu": HUGE}, f"cpu is 1{'0' * 56}...; it must be a whole number of at most 4096"),
        ({"cpu": 2.5}, "cpu is 2.5; it must be a whole number"),
        ({"cpu": True}, "cpu is true; it must be a whole number"),
        ({"memory": 1e308}, f"memory is 1e+308; {MEMORY}"),
        ({"memory": HUGE}, f"memory is 1{'0' * 36}...; {MEMORY}"),
        ({"memory": "1e308GiB"}, f"memory is '1e308GiB'; {MEMORY}"),
        (
            {"resources": {"ssd": 1, "gpu": 1e308, "x": 2}},
            "resources.gpu is 1e+308; it must be a whole number",
        ),
        ({"resources": {"gpu": -1}}, "resources.gpu is -1; it must be a whole number of at least 0"),
        (
            {"resources": {"gpu": 1, "": 1}},
            'resources has the name ""; it must be 1 to 63 characters out of A-Z a-z 0-9 . _ -, '
            "beginning with a letter or digit",
        ),
        ({"labels": {"a": "b", "rack": 5, "z": 6}}, "labels.rack is 5; it must be text"),
        ({"state": "unreachable"}, 'state is "unreachable"; it must be one of "down", "draining", "up"'),
        ({"reserve_cpu": 9}, "reserve_cpu is 9; it must be at most cpu, which is 8"),
        ({"reserve_memory": 17}, "reserve_memory is 17GiB; it must be at most memory, which is 16GiB"),
        ({"numa": 2}, "numa is 2; it must be a list"),
        ({"numa": [{"cpu": 0, "memory": 9}]}, "numa[0].cpu is 0; it must be a whole number of at least 1"),
        ({"numa": [{"cpu": 5, "memory": 1}] * 2}, "numa has 10 cpus in all; the host's cpu is 8"),
        ({"numa": [{"cpu": 1, "memory": 9}] * 2}, "numa has 18GiB in all; the host's memory is 16GiB"),
        ({"networks": "lan"}, 'networks is "lan"; it must be a list or null'),
    ],
)
def test_a_host(changes, sentence):
    assert refusal({"hosts": [HOST | changes]}) == f"hosts[0].{sentence}"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"cpu": 1e308}, ".cpu is 1e+308; it must be a whole number"),
        ({"cpu": 0}, ".cpu is 0; it must be a whole number of at least 1"),
        ({"memory": 1e308}, f".memory is 1e+308; {MEMORY}"),
        ({"numa": 0}, ".numa is 0; it must be a whole number of at least 1"),
        ({"numa": 2}, ".numa is 2; it must be at most cpu, which is 1"),
        (
            {"numa": 1, "numa_nodes": [0]},
            ".numa_nodes is given without host; the nodes of which host are meant?",
        ),
        (
            {"cpu": 2, "numa": 2, "numa_nodes": [0, 0], "host": "h1"},
            ".numa_nodes is [0, 0]; each node may stand once",
        ),
        (
            {"cpu": 2, "numa": 2, "numa_nodes": [0], "host": "h1"},
            ".numa_nodes has 1 nodes; it must have as many as numa says, which is 2",
        ),
        (
            {"numa_nodes": [0], "host": "h1"},
            ".numa_nodes has 1 nodes; it must have as many as numa says, which is not given",
        ),
        (
            {"host_labels": {"zone": "a", "ra ck": "b"}},
            '.host_labels has the name "ra ck"; it must be 1 to 63 characters out of A-Z a-z 0-9 . _ -, '
            "beginning with a letter or digit",
        ),
    ],
)
def test_a_vm(changes, sentence):
    assert refusal({"vms": [VM | changes]}) == f"vms[0]{sentence}"


def apart(**more):
    return {"rule": "apart", "group": "g", **more}


def near(*hosts, rule="near", **more):
    return {"rule": rule, **({"hosts": list(hosts)} if hosts else {}), **more}


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (
            {"rule": "beside", "group": "g"},
            '.rule is "beside"; it must be one of "apart", "avoid", "near", "together"',
        ),
        ({"rule": "apart"}, " (apart) lacks the field 'group', the VMs it speaks of"),
        (
            apart(hosts=["h1"]),
            " (apart) has the field 'hosts', which only near and avoid take; it speaks of a group",
        ),
        (near(), " (near) must have exactly one of 'hosts' and 'label'"),
        (near("h1", label={"a": "b"}), " (near) must have exactly one of 'hosts' and 'label'"),
        (
            near("h1", group="g"),
            " (near) has the field 'group', which only apart and together take; "
            "it speaks of hosts or a label",
        ),
        (near("h1", scope="rack"), " (near) has the scope 'rack', which only apart and together take"),
        (
            apart(weight=2),
            ' (apart) has the weight 2 on a hard rule; give "hard": false with it, or leave it out',
        ),
        (apart(hard=False, weight=0), ".weight is 0; it must be a number above 0.0"),
        (apart(hard=False, weight=1e308), ".weight is 1e+308; it must be a number of at most 1000000.0"),
    ],
)
def test_a_rule(rule, sentence):
    assert refusal({"vms": [VM | {"affinity": [apart(), rule]}]}) == f"vms[0].affinity[1]{sentence}"


@pytest.mark.parametrize(
    ("rules", "more", "sentence"),
    [
        (
            [apart(), {"rule": "together", "group": "g"}],
            {},
            " (apart) and affinity[1] (together) contradict: "
            "group 'g' cannot be both in one host and in different ones",
        ),
        (
            [apart(scope="rack"), {"rule": "together", "group": "g"}],
            {},
            " (apart) and affinity[1] (together) contradict: "
            "group 'g' cannot be both in one host and in different ones",
        ),
        (
            [near("h1"), near("h1", "h2", rule="avoid")],
            {},
            " (near) and affinity[1] (avoid) contradict: no host is left that is to be near",
        ),
        (
            [near("h1"), near("h2")],
            {},
            " (near) and affinity[1] (near) contradict: they have no host in common",
        ),
        (
            [near(label={"rack": "r1"}), near(label={"rack": "r2"})],
            {},
            " (near) and affinity[1] (near) contradict: a host has one value of 'rack'",
        ),
        (
            [near(label={"rack": "r1"}), near(label={"rack": "r1"}, rule="avoid")],
            {},
            " (near) and affinity[1] (avoid) contradict: the labels to be near are labels to avoid",
        ),
        (
            [near("h1", "h2"), near("h2", "h3"), near("h1", "h3")],
            {},
            " (near), affinity[1] (near), affinity[2] (near) contradict: no host is left that is to be near",
        ),
        (
            [near("h1", "h2"), near("h1", rule="avoid"), near("h2", rule="avoid")],
            {},
            " (near), affinity[1] (avoid), affinity[2] (avoid) contradict: "
            "no host is left that is to be near",
        ),
        ([near("h1")], {"host": "h2"}, " (near) does not name host 'h2', where the VM must start"),
        ([near("h2", rule="avoid")], {"host": "h2"}, " (avoid) names host 'h2', where the VM must start"),
        (
            [near(label={"rack": "r1"})],
            {"host_labels": {"rack": "r2"}},
            " (near) asks for rack=r1 and host_labels for rack=r2; both must hold, and no host has both",
        ),
        (
            [near(label={"rack": "r1"}, rule="avoid")],
            {"host_labels": {"rack": "r1"}},
            " (avoid) names labels that host_labels asks for; no host keeps both",
        ),
    ],
)
def test_rules_that_contradict_each_other(rules, more, sentence):
    assert refusal({"vms": [VM | more | {"affinity": rules}]}) == f"vms[0].affinity[0]{sentence}"


@pytest.mark.parametrize(
    "rules",
    [
        [apart(), {"rule": "together", "group": "other"}],
        [apart(), {"rule": "together", "group": "g", "scope": "rack"}],
        [apart(), {"rule": "together", "group": "g", "hard": False}],
        [near("h1", "h2"), near("h2", "h3"), near("h1", rule="avoid")],
        [near("h1"), near("h1", rule="avoid", hard=False)],
        [near("h1", rule="avoid"), near("h2", rule="avoid")],
        [near(label={"rack": "r1"}), near(label={"zone": "a"})],
    ],
)
def test_rules_that_some_cluster_can_keep_are_read(rules):
    assert len(decode_spec(VM | {"affinity": rules}, VmSpec).affinity) == len(rules)


def test_two_hosts_of_one_id():
    same = 'which hosts[0] has already; ids must be unique (1 and "1" are the same)'
    assert refusal({"hosts": [HOST, HOST]}) == f'hosts[1].id is "h1", {same}'
    assert refusal({"hosts": [HOST | {"id": 1}, HOST | {"id": "1"}]}) == f'hosts[1].id is "1", {same}'


NODES = [{"cpu": 2, "memory": 2}, {"cpu": 2, "memory": 8}]


@pytest.mark.parametrize(
    ("host", "vm", "sentence"),
    [
        ({}, {"host": "h9"}, "vms[0].host is 'h9'; it must be the id of a host of the file (h1)"),
        ({}, {"cpu": 9}, "hosts[0] (id 'h1') is overfull: its VMs hold 9 cpus and may give out 8"),
        (
            {"reserve_cpu": 6},
            {"cpu": 3},
            "hosts[0] (id 'h1') is overfull: its VMs hold 3 cpus and may give out 2",
        ),
        (
            {"numa": NODES},
            {"numa": 1, "numa_nodes": [2]},
            "vms[0].numa_nodes has 2, which host 'h1' lacks; its last node is 1",
        ),
        (
            {},
            {"numa": 1, "numa_nodes": [0]},
            "vms[0].numa_nodes has 0, which host 'h1' lacks; it has no field numa",
        ),
        (
            {"numa": NODES},
            {"cpu": 3, "numa": 1, "numa_nodes": [1]},
            "hosts[0] (id 'h1') is overfull: its VMs hold 3 cpus on NUMA node 1, which may give out 2",
        ),
        (
            {"numa": NODES},
            {"cpu": 2, "memory": 8, "numa": 2, "numa_nodes": [0, 1]},
            "hosts[0] (id 'h1') is overfull: its VMs hold 4GiB on NUMA node 0, which may give out 2GiB",
        ),
    ],
)
def test_a_vm_where_it_cannot_be(host, vm, sentence):
    assert refusal({"hosts": [HOST | host], "vms": [VM | {"host": "h1"} | vm]}) == sentence


def test_a_file_that_is_none():
    assert refusal({"hosts": [], "racks": []}) == (
        'there is the unknown field "racks"; known are "hosts" and "vms"'
    )


def test_a_name_deep_inside_many_is_found():
    many = {f"r{n}": 1 for n in range(300)}
    many["r217"] = -5
    assert "hosts[1].resources.r217 is -5" in refusal({"hosts": [HOST, HOST | {"id": 2, "resources": many}]})
