"""Locks between lab commands; the kernel drops them when their holder dies."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator

from lab.errors import LabError
from lab.paths import lock_root


@contextlib.contextmanager
def held(name: str, seconds: float = 60) -> Iterator[None]:
    """Hold the lock of this name; its file is gone afterwards."""
    lock_root().mkdir(parents=True, exist_ok=True)
    path = lock_root() / f"{name}.lock"
    deadline = time.monotonic() + seconds
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held it before may have removed the file that we have just locked.
            if path.exists() and os.fstat(descriptor).st_ino == path.stat().st_ino:
                break
        except BlockingIOError:
            pass
        except FileNotFoundError:
            pass
        os.close(descriptor)
        if time.monotonic() > deadline:
            raise LabError(
                f"another lab command has held {path} for {seconds:.0f} s; nothing was changed; "
                "wait for it or end it, then try again"
            )
        time.sleep(0.05)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)
