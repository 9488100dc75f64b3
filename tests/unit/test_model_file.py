"""From a cluster file to a cluster."""

import pytest

from hpgreedy.model import HostState, cluster_of
from hpgreedy.placement import Placed, decide
from protocol.spec import SpecError, parse_cluster_file


def read(hosts, vms):
    return cluster_of(parse_cluster_file({"hosts": hosts, "vms": vms}))


def test_placed_vms_hold_room_and_the_others_wait_in_file_order():
    cluster, waiting = read(
        [{"id": 1, "cpu": 32, "memory": 128, "cpu_overcommit": 2, "state": "draining"}],
        [
            {"id": "z", "cpu": 1, "memory": 1},
            {"id": "vm1", "cpu": 4, "memory": 8, "host": 1},
            {"id": "a", "cpu": 1, "memory": 1},
        ],
    )
    assert [demand.key for demand in waiting] == ["z", "a"]
    assert (cluster.used("1").cpu, cluster.used("1").memory) == (4, 8192)
    assert cluster.hosts["1"].cpu_capacity == 64
    assert cluster.hosts["1"].state is HostState.DRAINING


def test_hosts_keep_their_order():
    cluster, _ = read([{"id": i, "cpu": 1, "memory": 1} for i in ("z", 10, "a", 9)], [])
    assert list(cluster.hosts) == ["z", "10", "a", "9"]


def test_a_vm_on_an_unknown_host_is_refused_by_name():
    with pytest.raises(SpecError, match=r"vms\[0\].host is 'h9'; .*\(h1\)") as caught:
        read([{"id": "h1", "cpu": 1, "memory": 1}], [{"id": "v", "cpu": 1, "memory": 1, "host": "h9"}])
    assert caught.value.field == "vms[0].host"


@pytest.mark.parametrize(
    ("vm", "words"),
    [
        ({"cpu": 5, "memory": 1}, "5 cpus and may give out 4"),
        ({"cpu": 1, "memory": 9}, "9GiB and may give out 8GiB"),
        ({"cpu": 1, "memory": 1, "resources": {"gpu": 2}}, "2 gpu and has 1"),
    ],
)
def test_an_overfull_host_is_refused(vm, words):
    host = {"id": "h1", "cpu": 4, "memory": 8, "resources": {"gpu": 1}}
    with pytest.raises(SpecError, match=words) as caught:
        read([host], [{"id": "v", "host": "h1", **vm}])
    assert caught.value.field == "hosts[0]"


def test_a_full_host_is_fine():
    cluster, _ = read(
        [{"id": "h1", "cpu": 4, "memory": 8}], [{"id": "v", "cpu": 4, "memory": 8, "host": "h1"}]
    )
    assert cluster.used("h1").cpu == 4


def test_network_names_of_a_file_hinder_nobody():
    cluster, waiting = read(
        [{"id": "h1", "cpu": 4, "memory": 8}],
        [{"id": "v", "cpu": 1, "memory": 1, "nics": [{"bridge": "br7"}, {"network": "lan"}]}],
    )
    assert isinstance(decide(cluster, waiting[0]), Placed)
