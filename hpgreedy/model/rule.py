"""Rules of a VM about where it stands."""

from __future__ import annotations

import enum

import msgspec

from protocol.spec import Affinity
from protocol.spec.affinity import HOST_SCOPE


class RuleKind(enum.StrEnum):
    """Apart from or together with a group's VMs; near or away from hosts."""

    APART = "apart"
    TOGETHER = "together"
    NEAR = "near"
    AVOID = "avoid"


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule, as `protocol.spec.Affinity` documents it; hashable.

    scope: what counts as one place, ``host`` or the name of a host label.
    """

    kind: RuleKind
    group: str | None = None
    hosts: frozenset[str] = frozenset()
    labels: frozenset[tuple[str, str]] = frozenset()
    scope: str = HOST_SCOPE
    hard: bool = True
    weight: float = 1.0

    @staticmethod
    def of_spec(spec: Affinity) -> Rule:
        """The rule of a VM as its user wrote it."""
        return Rule(
            kind=RuleKind(spec.rule),
            group=spec.group,
            hosts=spec.host_keys,
            labels=frozenset(spec.label.items()),
            scope=spec.scope,
            hard=spec.hard,
            weight=spec.weight,
        )

    @property
    def of_hosts(self) -> bool:
        """Whether it speaks of hosts, and not of other VMs."""
        return self.kind in (RuleKind.NEAR, RuleKind.AVOID)
