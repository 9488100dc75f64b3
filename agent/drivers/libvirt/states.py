"""From libvirt's numbers to our words. The numbers are libvirt's ABI and written out here, so that this
module works without libvirt.
"""

from __future__ import annotations

from protocol.messages import DomainState

RUNNING, BLOCKED, PAUSED, SHUTDOWN, SHUTOFF, CRASHED, SUSPENDED = 1, 2, 3, 4, 5, 6, 7
PAUSED_MIGRATION = 2
SHUTOFF_CRASHED, SHUTOFF_MIGRATED = 3, 4

JOB_BOUNDED, JOB_UNBOUNDED = 1, 2
OPERATION_MIGRATION_IN, OPERATION_MIGRATION_OUT = 4, 5

EVENTS: dict[int, tuple[str, tuple[str, ...]]] = {
    0: ("defined", ("added", "updated", "renamed", "from-snapshot")),
    1: ("undefined", ("removed", "renamed")),
    2: ("started", ("booted", "migrated", "restored", "from-snapshot", "wakeup", "recovered")),
    3: (
        "suspended",
        ("paused", "migrated", "ioerror", "watchdog", "restored", "from-snapshot", "api-error", "postcopy",
         "postcopy-failed"),
    ),
    4: ("resumed", ("unpaused", "migrated", "from-snapshot", "postcopy", "postcopy-failed")),
    5: ("stopped", ("shutdown", "destroyed", "crashed", "migrated", "saved", "failed", "from-snapshot",
                    "recovered")),
    6: ("shutdown", ("finished", "guest", "host")),
    7: ("pmsuspended", ("memory", "disk")),
    8: ("crashed", ("panicked", "crashloaded")),
}  # fmt: skip

_STOPPED: dict[str, DomainState] = {"crashed": "crashed", "failed": "crashed"}
_AFTER: dict[str, DomainState] = {"crashed": "crashed", "suspended": "paused", "pmsuspended": "paused"}


def domain_state(state: int, reason: int, *, persistent: bool, outgoing: bool) -> DomainState:
    """The state in our words; `outgoing` = a migration away from here is running.

    A domain that is paused for a migration is an incoming one only while it is not persistent: a source
    that lost its libvirtd at hand-over is paused for the same reason and persistent.
    """
    if state in (SHUTOFF, CRASHED):
        return "crashed" if state == CRASHED or reason == SHUTOFF_CRASHED else "shutoff"
    if outgoing:
        return "outgoing"
    if state == PAUSED:
        return "incoming" if reason == PAUSED_MIGRATION and not persistent else "paused"
    return "paused" if state == SUSPENDED else "running"


def handed_over(state: int, reason: int) -> bool:
    """Whether the domain stands still because its migration away was done here as far as libvirt knows."""
    return (state, reason) in ((PAUSED, PAUSED_MIGRATION), (SHUTOFF, SHUTOFF_MIGRATED))


def event_words(event: int, detail: int) -> tuple[str, str]:
    """A lifecycle event and its detail as libvirt's tools spell them."""
    name, details = EVENTS.get(event, (f"event-{event}", ()))
    return name, details[detail] if 0 <= detail < len(details) else str(detail)


def state_after(event: str, detail: str, *, active: bool) -> DomainState | None:
    """The state that a lifecycle event leaves; `active` = the domain has a process. None = it is gone."""
    if event in ("undefined", "defined"):
        gone: DomainState | None = None if event == "undefined" else "shutoff"
        return "running" if active else gone
    if event == "stopped":
        # The source of a migration forgets the domain, and no further event says so.
        return None if detail == "migrated" else _STOPPED.get(detail, "shutoff")
    if event == "started" and detail == "migrated":
        return "incoming"
    return _AFTER.get(event, "running")
