"""Verbs that look: status, lists and single objects."""

from __future__ import annotations

import time

from hpgreedy.client import tables
from hpgreedy.client.follow import Follower, check, check_cancelled
from hpgreedy.client.session import Session, make
from protocol.verbs import (
    AlgorithmView,
    ById,
    HostView,
    ImageView,
    Nothing,
    OpCancel,
    OpList,
    OpRetry,
    OpShow,
    OpsStarted,
    OpView,
    StatusView,
    VmList,
    VmView,
)


def status(session: Session) -> None:
    """The cluster at a glance."""
    found = session.ask("status", Nothing(), StatusView)
    grids = [tables.status_facts(found)]
    if found.host_list:
        grids.append(tables.host_table(found.host_list, bars=session.screen.terminal))
    session.show(found, *grids)


def vm_list(session: Session) -> None:
    """All VMs."""
    found = session.ask("vm.list", VmList(), tuple[VmView, ...])
    session.show(found, tables.vm_table(found))


def vm_show(session: Session, vm: str) -> None:
    """One VM."""
    found = session.ask("vm.show", make(ById, id=vm), VmView)
    session.show(found, tables.vm_facts(found))


def host_list(session: Session) -> None:
    """All hosts."""
    found = session.ask("host.list", Nothing(), tuple[HostView, ...])
    session.show(found, tables.host_table(found, bars=session.screen.terminal))


def host_show(session: Session, host: str) -> None:
    """One host."""
    found = session.ask("host.show", make(ById, id=host), HostView)
    session.show(found, tables.host_facts(found, time.time()))


def op_list(session: Session, open_only: bool, limit: int) -> None:
    """Operations, the newest first."""
    found = session.ask("op.list", make(OpList, open_only=open_only, limit=limit), tuple[OpView, ...])
    session.show(found, tables.op_table(found, time.time()))


def op_show(session: Session, number: int) -> None:
    """One operation with its history."""
    found = session.ask("op.show", make(OpShow, id=number), OpView)
    session.show(found, tables.op_facts(found))


def op_watch(session: Session, number: int, timeout: float | None) -> None:
    """Follow an operation to its end. Raises OperationsFailedError."""
    found = session.ask("op.show", make(OpShow, id=number), OpView)
    ended = Follower(session, session.screen, timeout).until_done((found,))
    if session.screen.json:
        session.show(ended[0])
    check(ended, timeout)


def op_cancel(session: Session, number: int, wait: bool, timeout: float | None) -> None:
    """Cancel an operation and follow it to its end. Raises OperationsFailedError when it ended otherwise."""
    started = session.ask("op.cancel", make(OpCancel, id=number), OpsStarted)
    if not wait:
        session.show(started, tables.op_table(started.operations, time.time()))
        return
    ended = Follower(session, session.screen, timeout).until_done(started.operations)
    if session.screen.json:
        session.show(OpsStarted(operations=ended, notes=started.notes))
    check_cancelled(ended, timeout)


def op_retry(session: Session, number: int, wait: bool, timeout: float | None) -> None:
    """Ask again for what an operation did not bring about."""
    session.start("op.retry", make(OpRetry, id=number), wait, timeout)


def image_list(session: Session) -> None:
    """All images."""
    found = session.ask("image.list", Nothing(), tuple[ImageView, ...])
    session.show(found, tables.image_table(found))


def algorithm_list(session: Session) -> None:
    """Placement algorithms."""
    found = session.ask("algorithm.list", Nothing(), tuple[AlgorithmView, ...])
    session.show(found, tables.algorithm_table(found))
