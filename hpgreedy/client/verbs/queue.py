"""The queue of delayed."""

from __future__ import annotations

from hpgreedy.client.session import Session
from protocol.verbs import Nothing


def flush(session: Session, wait: bool, timeout: float | None) -> None:
    """Place the VMs that wait, the oldest first."""
    session.start("flush", Nothing(), wait, timeout)
