"""submit: a cluster file to the coordinator, for real or to see what would be done."""

from __future__ import annotations

from hpgreedy.client import tables
from hpgreedy.client.clusterfile import name_of, read_cluster_file
from hpgreedy.client.errors import InputError
from hpgreedy.client.session import Session, make
from protocol.spec import encode_spec
from protocol.verbs import Place, PlacementPlan, Submit


def submit(
    session: Session,
    file: str,
    *,
    algorithm: str | None,
    explain: bool,
    dry_run: bool,
    wait: bool,
    timeout: float | None,
) -> None:
    """Read, check and submit the VMs of `file` (``-`` = standard input); with `dry_run` accept nothing."""
    found = read_cluster_file(file)
    if not found.vms:
        raise InputError(f"{name_of(file)} has no VMs; vms must be a list with at least one", "vms")
    if found.hosts:
        session.screen.notice(f"hosts in {file} describe a simulation; the cluster's own hosts are used")
    vms = [encode_spec(vm) for vm in found.vms]
    # An older coordinator does not know the field, and would refuse what it has no need to know.
    more = {"explain": True} if explain else {}
    if dry_run:
        _show(session, make(Place, vms=vms, algorithm=algorithm, **more))
    else:
        session.start("submit", make(Submit, vms=vms, algorithm=algorithm, **more), wait, timeout)


def _show(session: Session, request: Place) -> None:
    plan = session.ask("place", request, PlacementPlan)
    session.notes(plan.notes)
    session.show(plan, *tables.placement_tables(plan.placements))
    session.explain(plan.placements)
    session.screen.line("Nothing was changed.")
