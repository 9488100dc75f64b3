"""One connection to libvirtd: opened with a time-out, watched by keepalive, replaced after a loss."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import libvirt

from agent.drivers.libvirt import errors
from agent.drivers.libvirt.eventloop import ensure_running
from agent.drivers.libvirt.events import EventSink, subscribe, unsubscribe
from protocol.commands import CommandError

OPEN_SECONDS = 8.0
KEEPALIVE_SECONDS, KEEPALIVE_COUNT = 5, 3
_CLOSE_REASONS = {
    0: "the connection broke",
    1: "libvirtd ended the connection",
    2: "libvirtd does not answer any more",
}
_CLOSED_BY_US = 3


def open_connection(uri: str, timeout: float = OPEN_SECONDS) -> Any:
    """Open a connection with keepalive within `timeout` seconds; raises CommandError("hypervisor_down").

    libvirt itself waits minutes for a silent address and for ever for a frozen libvirtd, so it is asked in a
    thread of its own, which closes a connection that came too late.
    """
    ensure_running()
    answer: queue.SimpleQueue[tuple[Any, str]] = queue.SimpleQueue()
    lock, given_up = threading.Lock(), threading.Event()

    def opener() -> None:
        try:
            handle = libvirt.open(uri)
            with contextlib.suppress(libvirt.libvirtError):
                handle.setKeepAlive(KEEPALIVE_SECONDS, KEEPALIVE_COUNT)
        except libvirt.libvirtError as error:
            answer.put((None, str(error)))
            return
        with lock:
            if not given_up.is_set():
                answer.put((handle, ""))
                return
        _close_quietly(handle)

    threading.Thread(target=opener, name="libvirt-open", daemon=True).start()
    try:
        handle, why = answer.get(timeout=timeout)
    except queue.Empty:
        with lock:
            given_up.set()
        # It may have arrived between the time-out and the lock.
        handle, why = (None, "") if answer.empty() else answer.get()
        why = why or f"no answer within {timeout:g} seconds"
    if handle is None:
        raise errors.hypervisor_down(uri, why)
    return handle


class _Session:
    """An open connection with what is registered on it.

    libvirt frees a connection even under a call that is still using it, so it is closed by whoever leaves
    it last.
    """

    def __init__(self, handle: Any, on_close: Callable[[str], None]) -> None:
        self.handle = handle
        self.on_close = on_close
        self.callbacks: tuple[int, ...] = ()
        self._lock = threading.Lock()
        self._users = 1

    def enter(self) -> None:
        with self._lock:
            self._users += 1

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            last = self._users == 0
        if last:
            unsubscribe(self.handle, self.callbacks)
            with contextlib.suppress(libvirt.libvirtError):
                self.handle.unregisterCloseCallback()
            _close_quietly(self.handle)


class Connection:
    """The connection of a driver. Methods may be called from any thread."""

    def __init__(self, uri: str, sink: EventSink, open_seconds: float = OPEN_SECONDS) -> None:
        self.uri = uri
        self._sink = sink
        self._open_seconds = open_seconds
        self._lock = threading.Lock()
        self._session: _Session | None = None

    def open(self, on_close: Callable[[str], None]) -> None:
        """Connect, or connect anew; `on_close` is called once when this connection is lost."""
        self.close()
        session = _Session(open_connection(self.uri, self._open_seconds), on_close)
        try:
            session.handle.registerCloseCallback(self._closed, session)
            session.callbacks = subscribe(session.handle, self._sink)
        except libvirt.libvirtError as error:
            session.leave()
            raise errors.hypervisor_down(self.uri, str(error)) from error
        with self._lock:
            self._session = session
        if not _is_alive(session.handle):
            # Lost before it was stored: its close callback found nothing to report.
            self.close()
            raise errors.hypervisor_down(self.uri, _CLOSE_REASONS[0])

    def close(self) -> None:
        """Let go of the connection, without a call of `on_close`."""
        with self._lock:
            session, self._session = self._session, None
        if session is not None:
            session.leave()

    def alive(self) -> bool:
        """Whether the connection stands."""
        with self._lock:
            session = self._session
            if session is None:
                return False
            session.enter()
        try:
            return _is_alive(session.handle)
        finally:
            session.leave()

    @contextlib.contextmanager
    def use(self, doing: str) -> Iterator[Any]:
        """The virConnect, for as long as the block runs; `doing` begins the sentence of an error.

        Every error of libvirt or of a file within the block becomes a CommandError.
        """
        with self._lock:
            session = self._session
            if session is None:
                raise errors.hypervisor_down(self.uri, "there is no connection")
            session.enter()
        try:
            with translated(self.uri, session.handle, doing):
                yield session.handle
        finally:
            session.leave()

    def _closed(self, _handle: Any, reason: int, session: _Session) -> None:
        if reason != _CLOSED_BY_US:
            # Not in libvirt's event thread: letting go of the connection is a call into libvirt.
            why = _CLOSE_REASONS.get(reason, f"reason {reason}")
            threading.Thread(target=self._lost, args=(session, why), name="libvirt-lost", daemon=True).start()

    def _lost(self, session: _Session, reason: str) -> None:
        with self._lock:
            if self._session is not session:
                return
            self._session = None
        session.leave()
        session.on_close(f"libvirt at {self.uri}: {reason}")


@contextlib.contextmanager
def translated(uri: str, handle: Any, doing: str) -> Iterator[None]:
    """Turn the errors of a block that works through `handle` into CommandErrors."""
    try:
        yield
    except libvirt.libvirtError as error:
        if not _is_alive(handle):
            raise errors.hypervisor_down(uri, str(error)) from error
        raise errors.from_libvirt(error.get_error_code(), str(error), doing) from error
    except OSError as error:
        raise errors.from_os(error, doing) from error
    except ValueError as error:
        raise CommandError("failed", f"{doing} failed: {error}") from error


def _is_alive(handle: Any) -> bool:
    try:
        return bool(handle.isAlive())
    except libvirt.libvirtError:
        return False


def _close_quietly(handle: Any) -> None:
    with contextlib.suppress(libvirt.libvirtError):
        handle.close()
