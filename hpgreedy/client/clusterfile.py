"""A cluster file from disk or standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from hpgreedy.client.errors import InputError
from protocol.spec import ClusterFile, SpecError, decode_json, parse_cluster_file

MAX_FILE = 16 * 1024 * 1024


def read_cluster_file(file: str, stdin: BinaryIO | None = None, *, simulation: bool = False) -> ClusterFile:
    """The VMs and hosts in `file` (``-`` = standard input). Raises InputError."""
    data = _read(file, stdin)
    with explained(file):
        return parse_cluster_file(decode_json(data, name_of(file)), simulation=simulation)


def name_of(file: str) -> str:
    """What a sentence calls the file."""
    return "standard input" if file == "-" else file


@contextmanager
def explained(file: str) -> Iterator[None]:
    """Turns what is wrong in `file` into an InputError that names the file."""
    what = name_of(file)
    try:
        yield
    except SpecError as error:
        message = error.message if error.message.startswith(what) else f"{what}: {error.message}"
        raise InputError(message, error.field) from error


def _read(file: str, stdin: BinaryIO | None) -> bytes:
    try:
        if file == "-":
            data = (sys.stdin.buffer if stdin is None else stdin).read(MAX_FILE + 1)
        else:
            with Path(file).open("rb") as source:
                data = source.read(MAX_FILE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"{file} cannot be read: {reason}", "FILE") from error
    if len(data) > MAX_FILE:
        raise InputError(
            f"{file} is over 16 MiB, the most that is read; give its VMs in several files", "FILE"
        )
    return data
