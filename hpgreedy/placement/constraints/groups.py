"""Hard rules between VMs: apart from a group, or together with it, in one host or one rack.

A placed VM's rules hold against newcomers as the newcomer's own do. A host without the label that a rule is
scoped by is a place of its own; a VM with such a rule does not start there.
"""

from __future__ import annotations

from collections.abc import Iterable

from hpgreedy.model import Demand, Host, Rule, RuleKind
from hpgreedy.placement.constraints.case import Case, Constraint
from hpgreedy.placement.decision import Reason, Rejection
from hpgreedy.placement.fleet import Fleet
from protocol.spec.affinity import HOST_SCOPE


def place(fleet: Fleet, position: int, scope: str) -> int:
    """The hosts that are one place with the host at `position`."""
    value = None if scope == HOST_SCOPE else fleet.hosts[position].labels.get(scope)
    return 1 << position if value is None else fleet.features.label(scope, value)


def same_place(one: Host, other: Host, scope: str) -> bool:
    """Whether two hosts are one place."""
    if one.key == other.key:
        return True
    value = None if scope == HOST_SCOPE else one.labels.get(scope)
    return value is not None and other.labels.get(scope) == value


def mask(fleet: Fleet, demand: Demand) -> int:
    """Hosts that keep the VM's rules about groups, and the rules of placed VMs about its own group."""
    found = fleet.everything
    if not demand.rules and demand.group is None:
        return found
    for rule in _own(demand):
        assert rule.group is not None
        if rule.scope != HOST_SCOPE:
            found &= fleet.features.labelled(rule.scope)
        found &= keeping(fleet, rule.kind, rule.scope, fleet.members(rule.group, demand.key))
    if demand.group is not None:
        for (kind, scope), places in fleet.watches(demand.group, demand.key):
            found &= keeping(fleet, kind, scope, places)
    return found


def keeping(fleet: Fleet, kind: RuleKind, scope: str, places: Iterable[int]) -> int:
    """Hosts that keep such a rule about VMs that stand at `places`."""
    found = fleet.everything
    for position in places:
        one = place(fleet, position, scope)
        found &= one if kind is RuleKind.TOGETHER else ~one
    return found


def reject(case: Case) -> Rejection | None:
    """Reject a host that breaks such a rule, naming the VM it is broken with."""
    demand, fleet = case.demand, case.fleet
    if not demand.rules and demand.group is None:
        return None
    for rule in _own(demand):
        assert rule.group is not None
        if rule.scope != HOST_SCOPE and rule.scope not in case.host.labels:
            reason = Reason(rule.kind.value)
            return case.reject(
                reason, f"its rule speaks of one {rule.scope}, and it has no label {rule.scope}"
            )
        members = fleet.members(rule.group, demand.key)
        clash = _clash(case, rule.kind, rule.scope, members)
        if clash is not None:
            return _rejection(case, rule.kind, rule.scope, rule.group, clash)
    if demand.group is not None:
        for (kind, scope), places in sorted(fleet.watches(demand.group, demand.key)):
            clash = _clash(case, kind, scope, places)
            if clash is not None:
                return _rejection(case, kind, scope, demand.group, clash)
    return None


def _clash(case: Case, kind: RuleKind, scope: str, places: Iterable[int]) -> int | None:
    """A position with which this host breaks the rule: its own, else the first."""
    hosts, apart = case.fleet.hosts, kind is RuleKind.APART
    found = [each for each in places if same_place(hosts[each], case.host, scope) is apart]
    return case.position if case.position in found else min(found, default=None)


def _rejection(case: Case, kind: RuleKind, scope: str, group: str, clash: int) -> Rejection:
    there = case.fleet.hosts[clash]
    if kind is RuleKind.APART:
        where = "there" if there.key == case.host.key else f"on {there.key}, in the same {scope}"
        return case.reject(Reason.APART, f"group {group} is to be kept apart, and a VM of it stands {where}")
    detail = f"group {group} is to be kept together in one {scope}, and stands on {there.key}"
    return case.reject(Reason.TOGETHER, detail)


def _own(demand: Demand) -> Iterable[Rule]:
    return (rule for rule in demand.rules if rule.hard and not rule.of_hosts)


GROUPS = Constraint(reject, mask)
