"""Become a program after writing down who one is: no moment in which it runs and is not recorded."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lab import programs_record
from lab.processes import Process


def command_line(folder: Path, name: str, command: Sequence[str]) -> list[str]:
    """Return the argument list that records and then runs a command."""
    start = "import sys; sys.path.insert(0, sys.argv.pop(1)); from lab.record_and_run import main; main()"
    project = str(Path(__file__).resolve().parent.parent)
    return [sys.executable, "-P", "-c", start, project, str(folder), name, *command]


def main() -> None:
    """Record and run (FOLDER NAME COMMAND…)."""
    folder, name, *command = sys.argv[1:]
    process = Process.of(os.getpid())
    assert process is not None
    programs_record.write(Path(folder), name, [process])
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.exit(f"{command[0]} cannot be run: {error}")
