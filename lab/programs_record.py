"""Which programs were started in a lab: one small file each, so that `down` ends exactly those."""

import json
from dataclasses import asdict
from pathlib import Path

from lab.processes import Process, end
from lab.state import write_atomically


def write(folder: Path, name: str, processes: list[Process]) -> None:
    """Record a program; with a launcher in front of it both are recorded."""
    write_atomically(folder / f"{name}.json", json.dumps([asdict(process) for process in processes]))


def read(folder: Path) -> dict[str, list[Process]]:
    """Return the recorded programs by name."""
    if not folder.is_dir():
        return {}
    return {
        path.stem: [Process(**process) for process in json.loads(path.read_text())]
        for path in sorted(folder.glob("*.json"))
    }


def forget(folder: Path, name: str) -> None:
    """Drop a program's record."""
    (folder / f"{name}.json").unlink(missing_ok=True)


def end_all(folder: Path, grace: float = 5) -> list[Process]:
    """End every recorded program; return what could not be ended."""
    records = read(folder)
    return end([process for processes in records.values() for process in processes], grace)
