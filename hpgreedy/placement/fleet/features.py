"""What hosts are, apart from what is free on them: an inverted index from features to hosts."""

from __future__ import annotations

from collections.abc import Iterator

from hpgreedy.model import Host

LABEL, LABELLED, FOREIGN = "label", "labelled", "foreign"
NETWORK, BRIDGE, POOL, CPU_MODEL = "network", "bridge", "pool", "cpu_model"
ACCELERATOR = "accelerator"
ANY = None
"""Stands for every name, where a host has whatever is asked for."""
Feature = tuple[str, str | None, str]
"""Its kind, its name, and for a label its value."""


class Features:
    """Masks of the hosts that have a feature, such as a label of some value."""

    def __init__(self) -> None:
        self._having: dict[Feature, int] = {}

    def put(self, bit: int, before: Host | None, host: Host | None) -> bool:
        """A host has changed (None = it is not there); whether its features have."""
        old = set(_features(before)) if before is not None else set()
        new = set(_features(host)) if host is not None else set()
        for feature in old ^ new:
            having = self._having.get(feature, 0) ^ bit
            if having:
                self._having[feature] = having
            else:
                del self._having[feature]
        return old != new

    def label(self, name: str, value: str) -> int:
        """Hosts with the label of that value."""
        return self._having.get((LABEL, name, value), 0)

    def labelled(self, name: str) -> int:
        """Hosts with the label, whatever its value."""
        return self._having.get((LABELLED, name, ""), 0)

    def network(self, name: str) -> int:
        """Hosts with the libvirt network."""
        return self.offering(NETWORK, name)

    def bridge(self, name: str) -> int:
        """Hosts with the bridge."""
        return self.offering(BRIDGE, name)

    def pool(self, name: str) -> int:
        """Hosts with the storage pool."""
        return self.offering(POOL, name)

    def cpu_model(self, name: str) -> int:
        """Hosts that offer the CPU model."""
        return self.offering(CPU_MODEL, name)

    def accelerator(self, name: str) -> int:
        """Hosts that run their guests by it."""
        return self.offering(ACCELERATOR, name)

    def foreign(self, name: str) -> int:
        """Hosts with a foreign domain of that name."""
        return self._having.get((FOREIGN, name, ""), 0)

    def names(self, kind: str) -> list[str]:
        """All names that some host has of a kind, sorted."""
        return sorted(name for each, name, _ in self._having if each == kind and name is not ANY)

    def offering(self, kind: str, name: str) -> int:
        """Hosts with the named thing of a kind, and those that have whatever is asked for."""
        return self._having.get((kind, name, ""), 0) | self._having.get((kind, ANY, ""), 0)


def _features(host: Host) -> Iterator[Feature]:
    for name, value in host.labels.items():
        yield LABEL, name, value
        yield LABELLED, name, ""
    for kind, names in (
        (NETWORK, host.networks),
        (BRIDGE, host.bridges),
        (POOL, host.pools),
        (CPU_MODEL, host.cpu_models),
        (ACCELERATOR, (host.accelerator,) if host.accelerator else None),
    ):
        for offered in (ANY,) if names is None else names:
            yield kind, offered, ""
    for name in host.names_taken:
        yield FOREIGN, name, ""
