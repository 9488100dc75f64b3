"""A host has the bridges, the networks, the storage pool and the CPU model that the VM names; its guests
are run by what the VM was made under.
"""

from __future__ import annotations

from hpgreedy.model import Demand
from hpgreedy.placement.constraints.case import Case, Constraint
from hpgreedy.placement.decision import Reason, Rejection
from hpgreedy.placement.fleet import Fleet
from hpgreedy.placement.words import some

SHOWN = 8


def reject_bridge(case: Case) -> Rejection | None:
    """Reject a host that lacks a bridge."""
    missing = _missing(case.demand.bridges, case.host.bridges)
    return case.reject(Reason.BRIDGE, f"it has no bridge {_list(missing)}") if missing else None


def reject_network(case: Case) -> Rejection | None:
    """Reject a host that lacks a libvirt network."""
    missing = _missing(case.demand.networks, case.host.networks)
    return case.reject(Reason.NETWORK, f"it has no network {_list(missing)}") if missing else None


def reject_pool(case: Case) -> Rejection | None:
    """Reject a host without the storage pool."""
    if not _missing(_one(case.demand.pool), case.host.pools):
        return None
    return case.reject(Reason.POOL, f"it has no storage pool {case.demand.pool}")


def reject_cpu_model(case: Case) -> Rejection | None:
    """Reject a host whose guests cannot be given the CPU model."""
    wanted, host = case.demand.cpu_model, case.host
    if not _missing(_one(wanted), host.cpu_models):
        return None
    if host.offer_cpu:
        return case.reject(Reason.CPU_MODEL, f"needs {wanted}, its offer is capped at {host.offer_cpu}")
    offered = some(sorted(host.cpu_models or ()), SHOWN) or "none"
    return case.reject(Reason.CPU_MODEL, f"needs {wanted}, it offers {offered}")


def reject_accelerator(case: Case) -> Rejection | None:
    """Reject a host that runs its guests by something else than the VM was made under."""
    wanted, has = case.demand.accelerator, case.host.accelerator
    if wanted is None or has in ("", wanted):
        return None
    return case.reject(Reason.ACCELERATOR, f"the VM was made under {wanted}, it runs guests by {has}")


def mask_bridge(fleet: Fleet, demand: Demand) -> int:
    """Hosts with all the bridges."""
    found = fleet.everything
    for name in demand.bridges:
        found &= fleet.features.bridge(name)
    return found


def mask_network(fleet: Fleet, demand: Demand) -> int:
    """Hosts with all the networks."""
    found = fleet.everything
    for name in demand.networks:
        found &= fleet.features.network(name)
    return found


def mask_pool(fleet: Fleet, demand: Demand) -> int:
    """Hosts with the storage pool."""
    return fleet.everything if demand.pool is None else fleet.features.pool(demand.pool)


def mask_cpu_model(fleet: Fleet, demand: Demand) -> int:
    """Hosts that offer the CPU model."""
    return fleet.everything if demand.cpu_model is None else fleet.features.cpu_model(demand.cpu_model)


def mask_accelerator(fleet: Fleet, demand: Demand) -> int:
    """Hosts that run their guests by what the VM was made under."""
    return fleet.everything if demand.accelerator is None else fleet.features.accelerator(demand.accelerator)


def _one(name: str | None) -> frozenset[str]:
    return frozenset() if name is None else frozenset({name})


def _missing(wanted: frozenset[str], has: frozenset[str] | None) -> frozenset[str]:
    return frozenset() if has is None else wanted - has


def _list(names: frozenset[str]) -> str:
    return " and no ".join(sorted(names))


BRIDGES = Constraint(reject_bridge, mask_bridge)
NETWORKS = Constraint(reject_network, mask_network)
POOL = Constraint(reject_pool, mask_pool)
CPU_MODEL = Constraint(reject_cpu_model, mask_cpu_model)
ACCELERATOR = Constraint(reject_accelerator, mask_accelerator)
