"""What `up` writes down before it makes anything, so that `down` knows what to take away."""

import json
import os
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lab.errors import LabError
from lab.names import Slot, host_names
from lab.paths import LabPaths, run_root
from lab.processes import Process

VERSION = 1


@dataclass(frozen=True)
class LabState:
    """One lab as written in its state file."""

    name: str
    slot: int
    hosts: int
    storage: str
    ready: bool = False
    inits: tuple[tuple[str, Process], ...] = ()
    version: int = VERSION

    @property
    def place(self) -> Slot:
        """The slot with its names and addresses."""
        return Slot(self.slot)

    @property
    def host_names(self) -> list[str]:
        """h1 to hN."""
        return host_names(self.hosts)

    def init_of(self, host: str) -> Process | None:
        """Return the host's first process, if it was ever started."""
        return dict(self.inits).get(host)

    def with_init(self, host: str, process: Process) -> "LabState":
        """Return the state with one more host's first process."""
        return replace(self, inits=(*self.inits, (host, process)))


def write_atomically(path: Path, content: str) -> None:
    """Replace a file in one step, on disk before it returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    Path(temporary).replace(path)


def save(state: LabState) -> None:
    """Write the state file."""
    write_atomically(LabPaths(state.name).state, json.dumps(asdict(state), indent=1) + "\n")


def load(name: str) -> LabState | None:
    """Read the state file; None when there is no such lab."""
    path = LabPaths(name).state
    try:
        raw = json.loads(path.read_text())
        raw["inits"] = tuple((host, Process(**process)) for host, process in raw["inits"])
        state = LabState(**raw)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise LabError(
            f"{path} cannot be read ({error}); the lab's processes, if any, are untouched; "
            "it was written by another version or damaged: end its processes by hand and remove the folder"
        ) from error
    return state


def lab_names() -> list[str]:
    """Return the names of all labs that have a run folder."""
    if not run_root().is_dir():
        return []
    return sorted(path.name for path in run_root().iterdir() if path.is_dir())
