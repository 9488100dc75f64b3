"""submit: a cluster file to the coordinator."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO

from hpgreedy.client.errors import InputError
from hpgreedy.client.session import Session, make
from protocol.spec import ClusterFile, SpecError, decode_json, encode_spec, parse_cluster_file
from protocol.verbs import Submit

MAX_FILE = 16 * 1024 * 1024


def submit(session: Session, file: str, algorithm: str | None, wait: bool, timeout: float | None) -> None:
    """Read, check and submit the VMs of `file` (``-`` = standard input)."""
    found = read_cluster_file(file)
    if found.hosts:
        session.screen.notice(f"hosts in {file} describe a simulation; the cluster's own hosts are used")
    request = make(Submit, vms=[encode_spec(vm) for vm in found.vms], algorithm=algorithm)
    session.start("submit", request, wait, timeout)


def read_cluster_file(file: str, stdin: BinaryIO | None = None) -> ClusterFile:
    """The VMs and hosts in `file`; there is at least one VM. Raises InputError."""
    data = _read(file, stdin)
    what = "standard input" if file == "-" else file
    try:
        found = parse_cluster_file(decode_json(data, what))
    except SpecError as error:
        message = error.message if error.message.startswith(what) else f"{what}: {error.message}"
        raise InputError(message, error.field) from error
    if not found.vms:
        raise InputError(f"{what} has no VMs; vms must be a list with at least one", "vms")
    return found


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
            f"{file} is over 16 MiB, the most that is read; submit its VMs in several files", "FILE"
        )
    return data
