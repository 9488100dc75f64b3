"""Where a lab keeps its things. HPG_LAB_ROOT moves all of it below another folder."""

import os
from dataclasses import dataclass
from pathlib import Path


def root() -> Path:
    """Return the folder below which everything lies, / by default."""
    return Path(os.environ.get("HPG_LAB_ROOT", "/"))


def run_root() -> Path:
    """Return the folder of all labs' run folders."""
    return root() / "run/hpgreedy-lab"


def cache_root() -> Path:
    """Return the cache that all labs share and that `down` keeps."""
    return root() / "var/cache/hpgreedy-lab"


def lock_root() -> Path:
    """Return the folder of the locks: one for the machine, since slots are shared across roots."""
    return Path("/run/lock/hpgreedy-lab")


@dataclass(frozen=True)
class LabPaths:
    """The folders of one lab."""

    name: str

    @property
    def run(self) -> Path:
        """Small things that a reboot may lose: state, sockets, program records."""
        return run_root() / self.name

    @property
    def data(self) -> Path:
        """Big things: disks, logs, the hosts' configuration."""
        return root() / "var/lib/hpgreedy-lab" / self.name

    @property
    def state(self) -> Path:
        """The state file."""
        return self.run / "state.json"

    @property
    def programs(self) -> Path:
        """One record for each program of ours that was started in this lab."""
        return self.run / "programs"

    @property
    def shared_pool(self) -> Path:
        """The pool folder of a lab with shared storage."""
        return self.data / "shared-pool"

    def host_run(self, host: str) -> Path:
        """What the host sees as /run."""
        return self.run / host

    def host_data(self, host: str) -> Path:
        """The host's own folders, by their path inside the host."""
        return self.data / host
