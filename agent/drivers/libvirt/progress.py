"""From libvirt's job statistics to our figures; pure."""

from __future__ import annotations

from typing import Any

from agent.drivers.libvirt.states import JOB_BOUNDED, JOB_UNBOUNDED, OPERATION_MIGRATION_OUT
from protocol.commands import Migrated
from protocol.messages import MigrationProgress


def is_outgoing(stats: dict[str, Any]) -> bool:
    """Whether these are figures of a migration away from here that is running."""
    # An old libvirt names no operation.
    return stats.get("type") in (JOB_BOUNDED, JOB_UNBOUNDED) and (
        stats.get("operation", OPERATION_MIGRATION_OUT) == OPERATION_MIGRATION_OUT
    )


def progress_of(stats: dict[str, Any]) -> MigrationProgress:
    """Figures of a running migration, memory and disks together."""
    return MigrationProgress(
        elapsed=stats.get("time_elapsed", 0) / 1000,
        total=stats.get("data_total", 0),
        processed=stats.get("data_processed", 0),
        remaining=stats.get("data_remaining", 0),
        bandwidth=float(stats.get("memory_bps", 0) + stats.get("disk_bps", 0)),
        dirty_rate=float(stats.get("memory_dirty_rate", 0) * stats.get("memory_page_size", 4096)),
        iteration=stats.get("memory_iteration", 0),
        downtime_ms=stats.get("downtime", 0),
    )


def migrated(stats: dict[str, Any], last: MigrationProgress) -> Migrated:
    """The final figures; where libvirt did not tell them, the last that were seen."""
    if not stats:
        return Migrated(
            total_ms=round(last.elapsed * 1000), downtime_ms=last.downtime_ms, transferred=last.processed
        )
    return Migrated(
        total_ms=stats.get("time_elapsed", 0),
        downtime_ms=stats.get("downtime", 0),
        transferred=stats.get("data_processed", 0),
        memory_total=stats.get("memory_total", 0),
    )
