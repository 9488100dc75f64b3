"""Soft rules: among the hosts that take a VM, those that break the least."""

from __future__ import annotations

from hpgreedy.model import Demand, Rule, RuleKind
from hpgreedy.placement.constraints.groups import place
from hpgreedy.placement.constraints.hosts import mask_of
from hpgreedy.placement.fleet import Fleet


def preferred(fleet: Fleet, demand: Demand, mask: int) -> int:
    """Those of `mask` with the least sum of weights of broken soft rules; `mask` itself without such rules.

    A rule of apart counts once for each VM of the group in the same place, so that it spreads; one of
    together once for each VM of the group elsewhere.
    """
    parts = {0.0: mask}
    for rule in demand.rules:
        if rule.hard:
            continue
        split: dict[float, int] = {}
        for cost, hosts in broken(fleet, demand, rule).items():
            for before, part in parts.items():
                both = part & hosts
                if both:
                    total = round(before + cost, 9)
                    split[total] = split.get(total, 0) | both
        parts = split
    return parts[min(parts)] if parts else 0


def broken(fleet: Fleet, demand: Demand, rule: Rule) -> dict[float, int]:
    """All hosts, by what it costs to break the soft rule there."""
    everything = fleet.everything
    if rule.of_hosts:
        named = mask_of(rule, fleet)
        bad = everything & ~named if rule.kind is RuleKind.NEAR else named
        return {0.0: everything & ~bad, rule.weight: bad}
    assert rule.group is not None
    members = fleet.members(rule.group, demand.key)
    counts: dict[int, int] = {}
    for position, count in members.items():
        here = place(fleet, position, rule.scope)
        counts[here] = counts.get(here, 0) + count
    total = sum(counts.values())
    rest, costs = everything, dict[float, int]()
    for here, count in counts.items():
        cost = rule.weight * (count if rule.kind is RuleKind.APART else total - count)
        costs[cost] = costs.get(cost, 0) | here
        rest &= ~here
    elsewhere = 0.0 if rule.kind is RuleKind.APART else rule.weight * total
    costs[elsewhere] = costs.get(elsewhere, 0) | rest
    return costs
