"""A libvirt driver in a process inside a lab's host, called from outside.

`serve` is that process: it takes calls on stdin and answers on stdout. Functions among the arguments are
called back outside.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
import queue
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from agent.ports import DriverSettings
from protocol.commands import CommandError

ROOT = Path(__file__).resolve().parents[2]
_LENGTH = struct.Struct(">I")
_PATIENCE = 150
_START = "import sys; sys.path.insert(0, sys.argv[1]); from tests.live.remote_driver import serve; serve()"


@dataclass(frozen=True)
class _Function:
    """Stands for a function of the other side."""

    call: int
    position: int


def _send(pipe: BinaryIO, value: object) -> None:
    data = pickle.dumps(value)
    pipe.write(_LENGTH.pack(len(data)) + data)
    pipe.flush()


def _receive(pipe: BinaryIO) -> Any:
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    return pickle.loads(pipe.read(_LENGTH.unpack(head)[0]))


class _Served:
    """The process inside the host."""

    def __init__(self) -> None:
        from agent.drivers.libvirt import LibvirtDriver

        self._out = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._returned: dict[int, queue.Queue[Any]] = {}
        self._driver = LibvirtDriver(_receive(sys.stdin.buffer))

    def serve(self) -> None:
        with contextlib.suppress(EOFError):
            while True:
                kind, *rest = _receive(sys.stdin.buffer)
                if kind == "return":
                    self._returned[rest[0]].put(rest[1])
                else:
                    threading.Thread(target=self._answer, args=rest, daemon=True).start()
        os._exit(0)

    def _tell(self, *message: object) -> None:
        with self._lock:
            _send(self._out, message)

    def _answer(self, number: int, path: str, args: tuple[Any, ...]) -> None:
        target: Any = self._driver
        for part in path.split("."):
            target = getattr(target, part)
        args = tuple(self._here(arg) if isinstance(arg, _Function) else arg for arg in args)
        try:
            self._tell("answer", number, True, target(*args))
        except CommandError as error:
            self._tell("answer", number, False, (error.code, error.message, error.data))
        except BaseException as error:
            self._tell("answer", number, False, ("LEAKED", repr(error), {}))
            raise

    def _here(self, function: _Function) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            number = next(self._numbers)
            returned = self._returned[number] = queue.Queue()
            self._tell("call", number, function, args)
            return returned.get(timeout=_PATIENCE)

        return call


class Remote:
    """A driver inside a host. `ports` looks like the driver itself."""

    def __init__(self, host: Any, settings: DriverSettings) -> None:
        self.process = host.popen(
            [sys.executable, "-c", _START, str(ROOT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.ports: Any = _Path(self, "")
        self._answers: dict[int, queue.Queue[tuple[bool, Any]]] = {}
        self._functions: dict[tuple[int, int], Callable[..., Any]] = {}
        self._lock = threading.Lock()
        self._tell(settings)
        threading.Thread(target=self._read, daemon=True).start()

    def _tell(self, message: object) -> None:
        with self._lock:
            _send(self.process.stdin, message)

    def _read(self) -> None:
        with contextlib.suppress(EOFError, ValueError):
            while True:
                kind, number, *rest = _receive(self.process.stdout)
                if kind == "answer":
                    self._answers[number].put((rest[0], rest[1]))
                else:
                    function, args = rest
                    value = self._functions[function.call, function.position](*args)
                    with contextlib.suppress(OSError):
                        self._tell(("return", number, value))

    def begin(self, path: str, *args: Any) -> Callable[[], Any]:
        """Call now; the returned function waits for the answer."""
        number = len(self._answers)
        self._answers[number] = queue.Queue()
        sent = []
        for position, arg in enumerate(args):
            if callable(arg):
                self._functions[number, position] = arg
            sent.append(_Function(number, position) if callable(arg) else arg)
        self._tell(("call", number, path, tuple(sent)))

        def wait() -> Any:
            fine, value = self._answers[number].get(timeout=_PATIENCE)
            if fine:
                return value
            assert value[0] != "LEAKED", value[1]
            raise CommandError(*value)

        return wait

    def call(self, path: str, *args: Any) -> Any:
        """Call and wait."""
        return self.begin(path, *args)()

    def kill(self) -> None:
        """End the process as a crash would."""
        self.process.kill()
        self._close()

    def end(self) -> None:
        """Have the process end."""
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self._close()

    def _close(self) -> None:
        self.process.wait(timeout=10)
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self.process.stdout.close()


class _Path:
    """``remote.ports.runtime.start(x)`` calls ``runtime.start`` there."""

    def __init__(self, remote: Remote, path: str) -> None:
        self._remote = remote
        self._path = path

    def __getattr__(self, name: str) -> _Path:
        return _Path(self._remote, f"{self._path}.{name}".lstrip("."))

    def __call__(self, *args: Any) -> Any:
        return self._remote.call(self._path, *args)


def serve() -> None:
    """Be the process inside the host."""
    _Served().serve()
