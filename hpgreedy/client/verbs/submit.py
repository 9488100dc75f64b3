"""submit: a cluster file to the coordinator."""

from __future__ import annotations

from hpgreedy.client.clusterfile import name_of, read_cluster_file
from hpgreedy.client.errors import InputError
from hpgreedy.client.session import Session, make
from protocol.spec import encode_spec
from protocol.verbs import Submit


def submit(session: Session, file: str, algorithm: str | None, wait: bool, timeout: float | None) -> None:
    """Read, check and submit the VMs of `file` (``-`` = standard input)."""
    found = read_cluster_file(file)
    if not found.vms:
        raise InputError(f"{name_of(file)} has no VMs; vms must be a list with at least one", "vms")
    if found.hosts:
        session.screen.notice(f"hosts in {file} describe a simulation; the cluster's own hosts are used")
    request = make(Submit, vms=[encode_spec(vm) for vm in found.vms], algorithm=algorithm)
    session.start("submit", request, wait, timeout)
