"""libvirt's events: received in its event thread, handed on in a thread of ours.

A receiver that is slow or calls libvirt would hold up keepalive in libvirt's own thread.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any

import libvirt
import msgspec
import structlog

from agent.drivers.libvirt.states import event_words, state_after
from protocol.messages import DomainEvent

_log = structlog.get_logger("agent.libvirt")


class JobEnd(msgspec.Struct, frozen=True):
    """A job of a domain has ended; `stats` as libvirt names its figures."""

    uuid: str
    stats: dict[str, Any]


class Changed(msgspec.Struct, frozen=True):
    """Something about a domain is not what it was."""

    uuid: str


class MigrationPass(msgspec.Struct, frozen=True):
    """A migration away from here is under way."""

    uuid: str


Event = DomainEvent | JobEnd | Changed | MigrationPass


class EventSink:
    """Takes events from libvirt's thread and gives them, in order, to all receivers in its own."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._receivers: list[Callable[[Event], None]] = []
        threading.Thread(target=self._run, name="libvirt-sink", daemon=True).start()

    def add_receiver(self, receiver: Callable[[Event], None]) -> None:
        """Have `receiver` called with every event from now on."""
        self._receivers.append(receiver)

    def put(self, event: Event) -> None:
        """Hand an event on; returns at once."""
        self._queue.put(event)

    def _run(self) -> None:
        while True:
            event = self._queue.get()
            for receiver in self._receivers:
                try:
                    receiver(event)
                except Exception:  # a receiver's mistake must not end the events of all others
                    _log.exception("event_receiver_failed", libvirt_event=str(event))


def subscribe(handle: Any, sink: EventSink) -> tuple[int, ...]:
    """Register for all events we use; returns the ids to unsubscribe with."""
    kinds: tuple[tuple[int, Callable[..., None]], ...] = (
        (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, _lifecycle),
        (libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, _reboot),
        (libvirt.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, _job_completed),
        (libvirt.VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION, _migration_iteration),
        (libvirt.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, _metadata_change),
    )
    return tuple(handle.domainEventRegisterAny(None, kind, callback, sink) for kind, callback in kinds)


def unsubscribe(handle: Any, callbacks: tuple[int, ...]) -> None:
    """Take the registrations back; fine on a dead connection."""
    for callback in callbacks:
        with contextlib.suppress(libvirt.libvirtError):
            handle.domainEventDeregisterAny(callback)


def _lifecycle(_handle: Any, domain: Any, event: int, detail: int, sink: EventSink) -> None:
    name, why = event_words(event, detail)
    state = state_after(name, why, active=domain.ID() != -1)
    sink.put(DomainEvent(uuid=domain.UUIDString(), name=domain.name(), event=name, detail=why, state=state))


def _reboot(_handle: Any, domain: Any, sink: EventSink) -> None:
    sink.put(DomainEvent(uuid=domain.UUIDString(), name=domain.name(), event="reboot", state="running"))


def _job_completed(_handle: Any, domain: Any, stats: dict[str, Any], sink: EventSink) -> None:
    sink.put(JobEnd(domain.UUIDString(), stats))


def _migration_iteration(_handle: Any, domain: Any, _iteration: int, sink: EventSink) -> None:
    sink.put(MigrationPass(domain.UUIDString()))


def _metadata_change(_handle: Any, domain: Any, _kind: int, _namespace: str, sink: EventSink) -> None:
    sink.put(Changed(domain.UUIDString()))
