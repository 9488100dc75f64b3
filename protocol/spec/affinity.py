"""Rules about where a VM stands, relative to other VMs and to hosts."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from protocol.spec.fields import LabelValue, Name, ObjectId, key_of

HOST_SCOPE = "host"
Weight = Annotated[float, msgspec.Meta(gt=0, le=1_000_000)]


class Affinity(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One rule of a VM.

    rule: ``apart`` and ``together`` speak of the other VMs of `group`, ``near`` and ``avoid`` of `hosts`
    or of the hosts with `label`.
    scope: what counts as one place for apart and together: ``host``, or a host label such as ``rack``, all
    hosts of one value being one place.
    hard: the rule is never broken; else hosts that keep it are preferred, by `weight` (default 1) against
    the VM's other soft rules.
    """

    rule: Literal["apart", "together", "near", "avoid"]
    group: Name | None = None
    hosts: Annotated[tuple[ObjectId, ...], msgspec.Meta(max_length=10_000)] = ()
    label: Annotated[dict[Name, LabelValue], msgspec.Meta(max_length=64)] = {}
    scope: Name = HOST_SCOPE
    hard: bool = True
    weight: Weight = 1.0

    def __post_init__(self) -> None:
        if self.rule in ("apart", "together"):
            self._about_vms()
        else:
            self._about_hosts()
        if self.hard and self.weight != 1.0:
            raise ValueError(
                f'({self.rule}) has the weight {self.weight:g} on a hard rule; give "hard": false with it, '
                "or leave it out"
            )

    @property
    def host_keys(self) -> frozenset[str]:
        """The ids of the hosts as text."""
        return frozenset(key_of(host) for host in self.hosts)

    def _about_vms(self) -> None:
        if self.group is None:
            raise ValueError(f"({self.rule}) lacks the field 'group', the VMs it speaks of")
        if self.hosts or self.label:
            extra = "hosts" if self.hosts else "label"
            raise ValueError(
                f"({self.rule}) has the field {extra!r}, which only near and avoid take; it speaks of a group"
            )

    def _about_hosts(self) -> None:
        if self.group is not None:
            raise ValueError(
                f"({self.rule}) has the field 'group', which only apart and together take; "
                "it speaks of hosts or a label"
            )
        if bool(self.hosts) == bool(self.label):
            raise ValueError(f"({self.rule}) must have exactly one of 'hosts' and 'label'")
        if self.scope != HOST_SCOPE:
            raise ValueError(
                f"({self.rule}) has the scope {self.scope!r}, which only apart and together take"
            )


def contradiction(rules: tuple[Affinity, ...], host: str | None, host_labels: dict[str, str]) -> str | None:
    """A sentence about hard rules of one VM that no cluster could keep together; None when there are none."""
    hard = [(n, rule) for n, rule in enumerate(rules) if rule.hard]
    for n, rule in hard:
        if rule.rule == "near" and host is not None and rule.hosts and host not in rule.host_keys:
            return f"affinity[{n}] (near) does not name host {host!r}, where the VM must start"
        if rule.rule == "avoid" and host is not None and host in rule.host_keys:
            return f"affinity[{n}] (avoid) names host {host!r}, where the VM must start"
        if rule.rule == "near":
            for name, value in rule.label.items():
                if host_labels.get(name, value) != value:
                    return (
                        f"affinity[{n}] (near) asks for {name}={value} and host_labels for "
                        f"{name}={host_labels[name]}; both must hold, and no host has both"
                    )
        if rule.rule == "avoid" and rule.label and rule.label.items() <= host_labels.items():
            return f"affinity[{n}] (avoid) names labels that host_labels asks for; no host keeps both"
        for m, other in hard[:n]:
            clash = _clash(other, rule)
            if clash:
                return f"affinity[{m}] ({other.rule}) and affinity[{n}] ({rule.rule}) contradict: {clash}"
    return _no_host_left(hard)


def _no_host_left(rules: list[tuple[int, Affinity]]) -> str | None:
    """Any two of them may agree on a host, and all of them on none."""
    of_hosts = [(n, rule) for n, rule in rules if rule.hosts]
    near = [rule.host_keys for _, rule in of_hosts if rule.rule == "near"]
    avoid = [rule.host_keys for _, rule in of_hosts if rule.rule == "avoid"]
    if not near or frozenset.intersection(*near).difference(*avoid):
        return None
    named = ", ".join(f"affinity[{n}] ({rule.rule})" for n, rule in of_hosts)
    return f"{named} contradict: no host is left that is to be near"


def _clash(one: Affinity, other: Affinity) -> str | None:
    kinds = {one.rule, other.rule}
    if kinds == {"apart", "together"} and one.group == other.group:
        apart, together = (one, other) if one.rule == "apart" else (other, one)
        if together.scope in (apart.scope, HOST_SCOPE):
            return f"group {one.group!r} cannot be both in one {together.scope} and in different ones"
    if kinds == {"near", "avoid"}:
        near, avoid = (one, other) if one.rule == "near" else (other, one)
        if near.hosts and near.host_keys <= avoid.host_keys:
            return "no host is left that is to be near"
        if near.label and avoid.label and avoid.label.items() <= near.label.items():
            return "the labels to be near are labels to avoid"
    if kinds == {"near"}:
        if one.hosts and other.hosts and not one.host_keys & other.host_keys:
            return "they have no host in common"
        for name, value in one.label.items():
            if other.label.get(name, value) != value:
                return f"a host has one value of {name!r}"
    return None
