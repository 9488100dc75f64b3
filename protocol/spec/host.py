"""The host specification, as a cluster file describes hosts for a simulation."""

from __future__ import annotations

from typing import Literal

import msgspec

from protocol.spec.fields import Count, Cpus, LabelValue, Name, ObjectId, Overcommit, key_of
from protocol.spec.memory import Memory


class HostSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A physical host.

    cpu: its CPUs; it takes VMs up to ``cpu x cpu_overcommit`` vCPUs.
    memory: GiB, or a string with a unit; it takes VMs up to ``memory x memory_overcommit``.
    labels: what `host_labels` of a VM match.
    state: ``draining`` and ``down`` hosts take no VM.
    resources: further countable resources it offers, by name.
    """

    id: ObjectId
    cpu: Cpus
    memory: Memory
    labels: dict[Name, LabelValue] = {}
    state: Literal["up", "draining", "down"] = "up"
    resources: dict[Name, Count] = {}
    cpu_overcommit: Overcommit = 1.0
    memory_overcommit: Overcommit = 1.0

    @property
    def key(self) -> str:
        """The id as text."""
        return key_of(self.id)
