"""What an agent is started with."""

from __future__ import annotations

from pathlib import Path

import msgspec

from agent.ports import DriverSettings


class AgentSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Composition's choices. memory_mib 0 = no cap; `name` "" = the name it joined under or the hostname."""

    coordinator: str
    port: int
    memory_mib: int
    state: Path
    state_root: Path
    driver: DriverSettings
    name: str = ""
    join: str = ""
    reserve_memory_mib: int = 1024
    reserve_cpu: int = 0
    cpu_overcommit: float = 1.0
    memory_overcommit: float = 1.0
    labels: dict[str, str] = {}
    resources: dict[str, int] = {}
    wait_hypervisor: bool = False
    fence: str = "auto"
