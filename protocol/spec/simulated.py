"""A VM that exists in a simulation only."""

from __future__ import annotations

from typing import Annotated

import msgspec

from protocol.spec.memory import NoMemory
from protocol.spec.vm import VmSpec


class SimulatedVm(VmSpec, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A VM of a simulation: as `VmSpec`, but `cpu` and `memory` may be 0. Such a VM cannot run."""

    cpu: Annotated[int, msgspec.Meta(ge=0, le=4096)]
    memory: NoMemory
