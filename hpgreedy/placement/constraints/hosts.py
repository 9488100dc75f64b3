"""Hard rules of a VM about hosts: near some, away from others."""

from __future__ import annotations

from hpgreedy.model import Demand, Host, Rule, RuleKind
from hpgreedy.placement.constraints.case import Case, Constraint
from hpgreedy.placement.decision import Reason, Rejection
from hpgreedy.placement.fleet import Fleet
from hpgreedy.placement.words import some


def named(rule: Rule, host: Host) -> bool:
    """Whether the rule speaks of the host."""
    if rule.hosts:
        return host.key in rule.hosts
    return all(host.labels.get(name) == value for name, value in rule.labels)


def mask_of(rule: Rule, fleet: Fleet) -> int:
    """The hosts that the rule speaks of."""
    if rule.hosts:
        found = 0
        for key in rule.hosts:
            position = fleet.position.get(key)
            if position is not None:
                found |= 1 << position
        return found & fleet.everything
    found = fleet.everything
    for name, value in rule.labels:
        found &= fleet.features.label(name, value)
    return found


def words(rule: Rule) -> str:
    """The hosts that the rule speaks of."""
    if rule.hosts:
        return some(sorted(rule.hosts), 5)
    return ", ".join(f"{name}={value}" for name, value in sorted(rule.labels))


def reject(case: Case) -> Rejection | None:
    """Reject hosts that are to be avoided, and those not among the ones to be near."""
    for rule in case.demand.rules:
        if not rule.hard or not rule.of_hosts:
            continue
        if rule.kind is RuleKind.NEAR and not named(rule, case.host):
            return case.reject(Reason.NEAR, f"it must be near {words(rule)}")
        if rule.kind is RuleKind.AVOID and named(rule, case.host):
            return case.reject(Reason.AVOID, f"it must avoid {words(rule)}")
    return None


def mask(fleet: Fleet, demand: Demand) -> int:
    """Hosts that keep all of these rules."""
    found = fleet.everything
    for rule in demand.rules:
        if rule.hard and rule.of_hosts:
            of_rule = mask_of(rule, fleet)
            found &= of_rule if rule.kind is RuleKind.NEAR else ~of_rule
    return found


HOSTS = Constraint(reject, mask)
