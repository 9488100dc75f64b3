"""A host has the bridges and networks that the VM's cards name."""

from __future__ import annotations

from hpgreedy.placement.constraints.case import Case
from hpgreedy.placement.decision import Reason, Rejection


def bridges(case: Case) -> Rejection | None:
    """Reject a host that lacks a bridge."""
    missing = case.demand.bridges - case.host.bridges
    return case.reject(Reason.BRIDGE, f"it has no bridge {_list(missing)}") if missing else None


def networks(case: Case) -> Rejection | None:
    """Reject a host that lacks a libvirt network."""
    missing = case.demand.networks - case.host.networks
    return case.reject(Reason.NETWORK, f"it has no network {_list(missing)}") if missing else None


def _list(names: frozenset[str]) -> str:
    return " and no ".join(sorted(names))
