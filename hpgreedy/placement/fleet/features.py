"""What hosts are, apart from what is free on them: an inverted index from features to hosts."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from hpgreedy.model import Host

ANY = "*"
"""Stands for every name, where a host has whatever is asked for."""


class Features:
    """Masks of the hosts that have a feature, such as a label of some value."""

    def __init__(self) -> None:
        self._having: dict[Hashable, int] = {}

    def put(self, bit: int, before: Host | None, host: Host | None) -> bool:
        """A host has changed (None = it is not there); whether its features have."""
        old = set(_features(before)) if before is not None else set()
        new = set(_features(host)) if host is not None else set()
        for feature in old ^ new:
            self._having[feature] = self._having.get(feature, 0) ^ bit
        return old != new

    def label(self, name: str, value: str) -> int:
        """Hosts with the label of that value."""
        return self._having.get(("label", name, value), 0)

    def labelled(self, name: str) -> int:
        """Hosts with the label, whatever its value."""
        return self._having.get(("labelled", name), 0)

    def network(self, name: str) -> int:
        """Hosts with the libvirt network."""
        return self._named("network", name)

    def bridge(self, name: str) -> int:
        """Hosts with the bridge."""
        return self._named("bridge", name)

    def pool(self, name: str) -> int:
        """Hosts with the storage pool."""
        return self._named("pool", name)

    def cpu_model(self, name: str) -> int:
        """Hosts that offer the CPU model."""
        return self._named("cpu_model", name)

    def foreign(self, name: str) -> int:
        """Hosts with a foreign domain of that name."""
        return self._having.get(("foreign", name), 0)

    def label_names(self) -> list[str]:
        """The names of all labels that some host has, sorted."""
        return sorted(
            str(feature[1])
            for feature, mask in self._having.items()
            if mask and isinstance(feature, tuple) and feature[0] == "labelled"
        )

    def _named(self, kind: str, name: str) -> int:
        return self._having.get((kind, name), 0) | self._having.get((kind, ANY), 0)


def _features(host: Host) -> Iterator[Hashable]:
    for name, value in host.labels.items():
        yield "label", name, value
        yield "labelled", name
    for kind, names in (
        ("network", host.networks),
        ("bridge", host.bridges),
        ("pool", host.pools),
        ("cpu_model", host.cpu_models),
    ):
        for name in (ANY,) if names is None else names:
            yield kind, name
    for name in host.names_taken:
        yield "foreign", name
