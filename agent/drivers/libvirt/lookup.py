"""Finding domains and pools: None where libvirt raises; called inside `Connection.use`."""

from __future__ import annotations

from typing import Any

import libvirt

from agent.drivers.libvirt import errors
from agent.drivers.libvirt.states import JOB_UNBOUNDED, OPERATION_MIGRATION_IN
from protocol.commands import CommandError


def domain_by_uuid(handle: Any, uuid: str) -> Any | None:
    """The domain of that uuid."""
    return _or_none(handle.lookupByUUIDString, uuid, errors.NO_DOMAIN)


def domain_by_name(handle: Any, name: str) -> Any | None:
    """The domain of that name."""
    return _or_none(handle.lookupByName, name, errors.NO_DOMAIN)


def existing_domain(handle: Any, uuid: str) -> Any:
    """The domain of that uuid; raises CommandError("not_found")."""
    domain = domain_by_uuid(handle, uuid)
    if domain is None:
        raise CommandError("not_found", f"no domain with uuid {uuid} is defined on this host")
    return domain


def pool_by_name(handle: Any, name: str) -> Any | None:
    """The storage pool of that name."""
    return _or_none(handle.storagePoolLookupByName, name, errors.NO_POOL)


def job_stats(domain: Any) -> dict[str, Any]:
    """Figures of the domain's running job; `type` 0 = none runs, also when the domain is not active."""
    try:
        stats: dict[str, Any] = domain.jobStats()
    except libvirt.libvirtError as error:
        if error.get_error_code() in (errors.INVALID_OPERATION, errors.NO_DOMAIN):
            return {"type": 0}
        if error.get_error_code() == errors.OPERATION_UNSUPPORTED:
            # A domain that is just arriving: its figures are the source's to give.
            return {"type": JOB_UNBOUNDED, "operation": OPERATION_MIGRATION_IN}
        raise
    return stats


def _or_none(look_up: Any, key: str, missing: int) -> Any | None:
    try:
        return look_up(key)
    except libvirt.libvirtError as error:
        if error.get_error_code() == missing:
            return None
        raise
