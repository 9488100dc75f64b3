"""libvirt's own event loop: one per process, in a daemon thread, running before any connection opens."""

from __future__ import annotations

import threading
import time

import libvirt

_lock = threading.Lock()
_started = False


def ensure_running() -> None:
    """Start the event loop unless it runs already, and keep libvirt from writing to stderr."""
    global _started  # noqa: PLW0603 - libvirt itself has this one loop per process
    with _lock:
        if _started:
            return
        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=_run, name="libvirt-events", daemon=True).start()
        _started = True


def _run() -> None:
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError:
            # The loop is needed by every later connection, so it may pause and never end.
            time.sleep(0.1)
