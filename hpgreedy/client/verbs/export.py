"""export: the live cluster as a cluster file."""

from __future__ import annotations

from pathlib import Path

from hpgreedy.client.errors import InputError
from hpgreedy.client.screen import to_json
from hpgreedy.client.session import Session
from protocol.verbs import ClusterExport, Nothing


def export(session: Session, file: str) -> None:
    """Write the cluster to `file` (``-`` = standard output). Raises InputError when it cannot be written."""
    found = session.ask("export", Nothing(), ClusterExport)
    if file == "-":
        session.screen.text(found, to_json(found))
        return
    try:
        Path(file).write_text(to_json(found) + "\n", encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"{file} cannot be written: {reason}", "FILE") from error
    counts = f"{len(found.hosts)} host(s) and {len(found.vms)} VM(s)"
    session.screen.text(found, f"{file}: {counts} written; 'simulate place {file}' reads it")
