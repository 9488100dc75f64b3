"""Names that a VM asks for and that no host of the cluster has: most likely mistyped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from hpgreedy.model import Demand, Rule, RuleKind
from hpgreedy.placement.fleet import Fleet
from hpgreedy.placement.fleet.features import BRIDGE, CPU_MODEL, LABELLED, NETWORK, POOL
from hpgreedy.placement.words import some
from protocol.spec.affinity import HOST_SCOPE

HOST, LABEL = "host", "label"
KINDS = {
    LABEL: LABELLED,
    "network": NETWORK,
    "bridge": BRIDGE,
    "storage pool": POOL,
    "CPU model": CPU_MODEL,
}
SHOWN = 8


class Unknown(msgspec.Struct, frozen=True, kw_only=True):
    """A name that nobody has.

    where: the field that gives it. what: what it is to be a name of. known: the names there are.
    fatal: no host takes the VM on its account.
    """

    where: str
    what: str
    name: str
    known: tuple[str, ...]
    fatal: bool

    def sentence(self) -> str:
        """The field, the name, and the names there are."""
        lack = (
            "no host of that name is registered" if self.what == HOST else f"no host has such a {self.what}"
        )
        known = some(self.known, SHOWN, between=", ") or "none"
        return f"{self.where} names the {self.what} {self.name!r}, and {lack}; known are: {known}"


def unknown_names(fleet: Fleet, demand: Demand) -> str | None:
    """Why no host can take the demand, where it asks for a name that no host has; else None."""
    return next((each.sentence() for each in unknown(fleet, demand) if each.fatal), None)


def notices(fleet: Fleet, demand: Demand) -> tuple[str, ...]:
    """A sentence for each such name that keeps no host off, as in a soft rule."""
    return tuple(each.sentence() for each in unknown(fleet, demand) if not each.fatal)


def unknown(fleet: Fleet, demand: Demand) -> Iterator[Unknown]:
    """All such names; none in a cluster without hosts."""
    if not fleet.everything:
        return
    if demand.wanted_host is not None:
        yield from _unknown(fleet, "host", HOST, [demand.wanted_host])
    yield from _unknown(fleet, "host_labels", LABEL, demand.host_labels)
    for n, rule in enumerate(demand.rules):
        yield from _of_rule(fleet, f"affinity[{n}]", rule)
    yield from _unknown(fleet, "nics", "network", sorted(demand.networks))
    yield from _unknown(fleet, "nics", "bridge", sorted(demand.bridges))
    if demand.pool is not None:
        yield from _unknown(fleet, "pool", "storage pool", [demand.pool])
    if demand.cpu_model is not None:
        yield from _unknown(fleet, "cpu_model", "CPU model", [demand.cpu_model])


def _of_rule(fleet: Fleet, where: str, rule: Rule) -> Iterator[Unknown]:
    if not rule.of_hosts:
        scope = [] if rule.scope == HOST_SCOPE else [rule.scope]
        yield from _unknown(fleet, f"{where}.scope", LABEL, scope, fatal=rule.hard)
        return
    must = rule.hard and rule.kind is RuleKind.NEAR
    yield from _unknown(fleet, f"{where}.label", LABEL, [name for name, _ in sorted(rule.labels)], fatal=must)
    nowhere = rule.hosts.isdisjoint(fleet.position)
    yield from _unknown(fleet, f"{where}.hosts", HOST, sorted(rule.hosts), fatal=must and nowhere)


def _unknown(
    fleet: Fleet, where: str, what: str, names: Iterable[str], *, fatal: bool = True
) -> Iterator[Unknown]:
    for name in names:
        there = name in fleet.position if what == HOST else fleet.features.offering(KINDS[what], name)
        if not there:
            known = fleet.position if what == HOST else fleet.features.names(KINDS[what])
            yield Unknown(where=where, what=what, name=name, known=tuple(known), fatal=fatal)
