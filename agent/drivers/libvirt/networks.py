"""Bridges and libvirt networks of this host."""

from __future__ import annotations

from typing import Any

import libvirt

from agent.drivers.libvirt.domain_xml import HostContext, planned_nics
from agent.drivers.libvirt.links import bridges_of, devices
from protocol.commands import CommandError, VmPlan


def active_networks(handle: Any) -> tuple[str, ...]:
    """Names of libvirt's active networks; empty where libvirt has no network driver."""
    try:
        networks = handle.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE)
        return tuple(sorted(network.name() for network in networks))
    except libvirt.libvirtError as error:
        if error.get_error_code() in (libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_NO_CONNECT):
            return ()
        raise


def require_networks(plan: VmPlan, host: HostContext, handle: Any) -> None:
    """Raise CommandError naming the bridges and networks of the plan that this host lacks."""
    wanted = {(kind, name) for kind, name, _mac in planned_nics(plan, host)}
    if not wanted:
        return
    there = {("bridge", name) for name in bridges_of(devices())}
    there |= {("network", name) for name in active_networks(handle)}
    missing = sorted(wanted - there)
    if missing:
        named = " and ".join(f"{kind} {name}" for kind, name in missing)
        raise CommandError(
            "refused",
            f"VM {plan.spec.key} needs the {named}, which this host does not have or has not started; "
            "nothing was changed",
        )
