"""What a decision is made of: rejections, moves, the answer, and the question an algorithm gets."""

from __future__ import annotations

import enum
from collections.abc import Callable

import msgspec

from hpgreedy.model import Cluster, Demand, Host


class Reason(enum.StrEnum):
    """The rule that keeps a VM off a host."""

    CPU = "cpu"
    MEMORY = "memory"
    RESOURCE = "resource"
    LABEL = "label"
    NAMED_HOST = "named_host"
    STATE = "state"
    ALREADY_THERE = "already_there"
    NAME_TAKEN = "name_taken"
    BRIDGE = "bridge"
    NETWORK = "network"


CAPACITY = frozenset({Reason.CPU, Reason.MEMORY, Reason.RESOURCE})
"""The reasons that room made on the host takes away."""


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """Why a host does not take a VM. `need` and `have` (what is free) are numbers where the rule counts:
    vCPUs, MiB or units of the resource. `detail` says it in words.
    """

    host: str
    reason: Reason
    need: float | None = None
    have: float | None = None
    detail: str

    def sentence(self) -> str:
        """One readable line, such as ``h1: memory: needs 8GiB, 3.5GiB free of 16GiB``."""
        return f"{self.host}: {self.reason.value.replace('_', ' ')}: {self.detail}"


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """A live migration that must finish before the new VM starts; memory in MiB."""

    vm: str
    source: str
    target: str
    memory: int


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """The VM goes to `host` once `moves` are done, in their order.

    why: a sentence. runner_up: the host that would have been next. rejections: the hosts that did not
    take it as they stand, in order of registration (with moves, `host` is among them).
    """

    host: str
    moves: tuple[Move, ...] = ()
    why: str
    runner_up: str | None = None
    rejections: tuple[Rejection, ...] = ()
    algorithm: str


class NotPlaced(msgspec.Struct, frozen=True, kw_only=True):
    """No host takes the VM.

    rejections: one for every host. why: one sentence. largest: host, vCPUs and MiB of the largest VM
    that would fit now, None when not even the smallest would. ever: whether some host would take it if it
    were up and empty (False without hosts).
    """

    rejections: tuple[Rejection, ...]
    why: str
    largest: tuple[str, int, int] | None = None
    ever: bool
    algorithm: str


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What an algorithm chooses from: hosts that take the demand as they are, in order of registration,
    and the rejections of all others.

    seed: what chance follows from, where an algorithm draws. last: the host that the VM before this one
    was given, where there is one; it need not be in the cluster any more.
    """

    cluster: Cluster
    demand: Demand
    candidates: tuple[Host, ...]
    rejections: tuple[Rejection, ...]
    seed: int = 0
    last: str | None = None


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What an algorithm chose."""

    host: str
    moves: tuple[Move, ...] = ()
    why: str
    runner_up: str | None = None


class Algorithm(msgspec.Struct, frozen=True, kw_only=True):
    """A placement algorithm: what it does in a sentence, where it comes from, and how it chooses.

    beyond: what a refusal may add, because the algorithm looked further than at free room; empty = nothing.
    """

    name: str
    summary: str
    source: str
    choose: Callable[[Question], Choice | None]
    beyond: str = ""
