"""What a decision is made of: rejections, moves, and the answer."""

from __future__ import annotations

import enum

import msgspec

from protocol.explanation import Searched


class Reason(enum.StrEnum):
    """The rule that keeps a VM off a host."""

    CPU = "cpu"
    MEMORY = "memory"
    RESOURCE = "resource"
    NUMA = "numa"
    LABEL = "label"
    NAMED_HOST = "named_host"
    NEAR = "near"
    AVOID = "avoid"
    APART = "apart"
    TOGETHER = "together"
    STATE = "state"
    ALREADY_THERE = "already_there"
    NAME_TAKEN = "name_taken"
    BRIDGE = "bridge"
    NETWORK = "network"
    POOL = "pool"
    CPU_MODEL = "cpu_model"
    ACCELERATOR = "accelerator"
    N1 = "n1"


CAPACITY = frozenset({Reason.CPU, Reason.MEMORY, Reason.RESOURCE, Reason.NUMA})
"""The reasons that room made on the host takes away."""


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """Why a host does not take a VM. `need` and `have` (what is free) are numbers where the rule counts:
    vCPUs, MiB, units of the resource or NUMA nodes. `detail` says it in words. hosts: how many hosts the
    same rule rejects, where this one, which comes nearest, stands for all of them.
    """

    host: str
    reason: Reason
    need: float | None = None
    have: float | None = None
    detail: str
    hosts: int = 1

    def sentence(self) -> str:
        """One readable line, such as ``h1: memory: needs 8GiB, 3.5GiB free of 16GiB``."""
        who = self.host
        if self.hosts > 1:
            who = f"{self.hosts} hosts, {'such as' if self.need is None else 'at best'} {self.host}"
        return f"{who}: {self.reason.value.replace('_', ' ')}: {self.detail}"


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """A live migration that must finish before the next one begins, the last before the new VM starts.

    memory in MiB. numa_nodes: those of the target that it will be pinned to, where it asks for some.
    """

    vm: str
    source: str
    target: str
    memory: int
    numa_nodes: tuple[int, ...] = ()


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """The VM goes to `host` once `moves` are done, in their order.

    numa_nodes: those it will be pinned to, where it asks for some. why: a sentence. runner_up: the host
    that would have been next. searched: what was searched for moves, where there are some.
    """

    host: str
    moves: tuple[Move, ...] = ()
    numa_nodes: tuple[int, ...] = ()
    why: str = ""
    runner_up: str | None = None
    searched: Searched | None = None
    algorithm: str


class NotPlaced(msgspec.Struct, frozen=True, kw_only=True):
    """No host takes the VM.

    rejections: one for every host; with many hosts one for every rule that rejects some. why: one sentence.
    largest: host, vCPUs and MiB of the largest VM that would fit now, None when not even the smallest would.
    ever: whether some host would take it if it were up and empty (False without hosts). searched: what was
    searched for room, where it was. `explain.answer.explain_answer` says more.
    """

    rejections: tuple[Rejection, ...]
    why: str
    largest: tuple[str, int, int] | None = None
    ever: bool
    searched: Searched | None = None
    algorithm: str
