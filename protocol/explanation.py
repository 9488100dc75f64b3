"""Why a VM goes where it goes, or why no host takes it: one definition for the placer and for `--json`.

Enumerated words are written as text, so that a client can show those of a newer coordinator. Amounts are
whole vCPUs, MiB, units of a resource and NUMA nodes. Fields are only ever added.
"""

from __future__ import annotations

import enum

import msgspec


class EditKind(enum.StrEnum):
    """An atomic change of a host or of the VM."""

    MORE_CPU = "more_cpu"
    MORE_MEMORY = "more_memory"
    MORE_RESOURCE = "more_resource"
    MORE_NUMA_ROOM = "more_numa_room"
    LABEL = "label"
    BRIDGE = "bridge"
    NETWORK = "network"
    POOL = "pool"
    CPU_MODEL = "cpu_model"
    ACCELERATOR = "accelerator"
    HOST_UP = "host_up"
    ADD_HOST = "add_host"
    DROP_NEAR = "drop_near"
    DROP_AVOID = "drop_avoid"
    DROP_APART = "drop_apart"
    DROP_TOGETHER = "drop_together"
    LEAVE_GROUP = "leave_group"
    DROP_NAMED_HOST = "drop_named_host"
    DROP_NUMA = "drop_numa"
    RENAME = "rename"


class Measure(enum.StrEnum):
    """What two hosts are compared by. Less is better for left_over, order, distance, soft_cost and to_move;
    more for most_left and share; utilisation: the nearer to 0.75; chance and batch (found together with the
    other VMs of a request): neither.
    """

    LEFT_OVER = "left_over"
    MOST_LEFT = "most_left"
    ORDER = "order"
    UTILISATION = "utilisation"
    SHARE = "share"
    DISTANCE = "distance"
    SOFT_COST = "soft_cost"
    CHANCE = "chance"
    BATCH = "batch"
    TO_MOVE = "to_move"


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """An amount of room; units of further resources by name."""

    cpu: int
    memory: int
    resources: dict[str, int] = {}


class ExplainedMove(msgspec.Struct, frozen=True, kw_only=True, rename={"source": "from", "target": "to"}):
    """A live migration that comes first; `memory` is what the VM has."""

    vm: str
    source: str
    target: str
    memory: int
    numa_nodes: tuple[int, ...] = ()


class RunnerUp(msgspec.Struct, frozen=True, kw_only=True):
    """The host that would have been next, and why it lost.

    measure: one of `Measure`. chosen, value: what it measures on the chosen host and on this one, None where
    it is not a number. left, left_on_chosen: what each would have free with the VM on it.
    """

    host: str
    why: str
    measure: str
    chosen: float | None = None
    value: float | None = None
    left: Shape | None = None
    left_on_chosen: Shape | None = None


class BrokenRule(msgspec.Struct, frozen=True, kw_only=True):
    """A soft rule that the chosen host breaks. rule: its number in the VM's `affinity`. cost: its weight, for
    rules between VMs times the VMs it is broken with.
    """

    rule: int
    kind: str
    about: str
    scope: str
    weight: float
    cost: float
    sentence: str


class Alike(msgspec.Struct, frozen=True, kw_only=True):
    """Hosts that are rejected with the same numbers; `hosts` has all or the first of `count`."""

    detail: str
    count: int
    hosts: tuple[str, ...]
    need: float | None = None
    have: float | None = None


class RejectedClass(msgspec.Struct, frozen=True, kw_only=True):
    """The hosts that one rule rejects; a host counts for the first rule that rejects it.

    reason: one of `hpgreedy.placement.Reason`. name: which label, resource, bridge …, where there can be
    several. best: the host that comes nearest, with its `detail`, `need` and `have`: the one that has the
    most where the rule counts, else the first. alike: the hosts in groups that have the same numbers, those
    that come nearest first; all of the `groups`, or the first of them.
    """

    reason: str
    name: str = ""
    count: int
    best: str
    detail: str
    need: float | None = None
    have: float | None = None
    groups: int
    alike: tuple[Alike, ...]


class NodeRoom(msgspec.Struct, frozen=True, kw_only=True):
    """What a NUMA node would have to have free beyond what it has."""

    node: int
    cpu: int
    memory: int


class Edit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An atomic change. kind: one of `EditKind`. host: None where it is the VM that changes.

    name, value: of the label, the resource, the bridge …, or what a rule speaks of. rule: its number in the
    VM's `affinity`. amount: how much more must be free. nodes: for more_numa_room. shape, labels, nodes:
    what a host to be added must have free, be labelled and have as nodes.
    """

    kind: str
    host: str | None = None
    name: str = ""
    value: str = ""
    rule: int | None = None
    amount: int | None = None
    nodes: tuple[NodeRoom, ...] = ()
    shape: Shape | None = None
    labels: dict[str, str] = {}
    sentence: str


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Changes that together make `host` take the VM as soon as they are done; None = a host to be added."""

    host: str | None
    edits: tuple[Edit, ...]
    sentence: str


class AtMost(msgspec.Struct, frozen=True, kw_only=True):
    """A size at which the VM would fit now, as it is in all else."""

    host: str
    cpu: int
    memory: int
    sentence: str


class Searched(msgspec.Struct, frozen=True, kw_only=True):
    """Chains of up to `depth` live migrations were searched for room: all of them, when `complete`."""

    depth: int
    complete: bool


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """The answer about one VM. outcome: placed or refused.

    hosts: how many there are; taking: how many take the VM as things stand; the others are in `rejected`,
    those that admission keeps it off under ``n1``.
    change: the fewest and smallest changes found that would admit it, where it was refused.
    """

    vm: str
    outcome: str
    algorithm: str
    why: str
    host: str | None = None
    numa_nodes: tuple[int, ...] = ()
    moves: tuple[ExplainedMove, ...] = ()
    runner_up: RunnerUp | None = None
    broken: tuple[BrokenRule, ...] = ()
    hosts: int
    taking: int
    rejected: tuple[RejectedClass, ...] = ()
    searched: Searched | None = None
    change: Change | None = None
    at_most: AtMost | None = None
    ever: bool = True
