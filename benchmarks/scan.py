"""The yardstick: placing by a plain numpy scan over all hosts, which is what one writes without an index."""

from __future__ import annotations

import numpy as np

from hpgreedy.model import Cluster, Demand

SHARE_BITS = 16


class Scan:
    """Free room as arrays, scanned for each VM. Chooses as the placer does; knows room and labels alone."""

    def __init__(self, cluster: Cluster) -> None:
        hosts = list(cluster.hosts.values())
        self.keys = [host.key for host in hosts]
        self._position = {key: n for n, key in enumerate(self.keys)}
        self._names = sorted({name for host in hosts for name in host.resources})
        offers = [
            [host.cpu_capacity, host.memory_capacity, *(host.resources.get(name, 0) for name in self._names)]
            for host in hosts
        ]
        self._free = np.array(offers, dtype=np.int64).T.copy()
        self._largest = np.maximum(self._free.max(axis=1, initial=1), 1)[:, None]
        self._labels: dict[tuple[str, str], np.ndarray] = {}
        for n, host in enumerate(hosts):
            for pair in host.labels.items():
                self._labels.setdefault(pair, np.zeros(len(hosts), dtype=bool))[n] = True
        for claim in cluster.claims:
            self._free[:, self._position[claim.host]] -= self._need(claim.demand)
        self._left = ((np.maximum(self._free, 0) << SHARE_BITS) // self._largest).sum(axis=0)

    def place(self, demand: Demand, algorithm: str) -> str | None:
        """The host of ``first_fit`` or ``best_fit``, which holds the VM from now on; None when none fits."""
        need = self._need(demand)
        fits = (self._free >= need[:, None]).all(axis=0)
        for pair in demand.host_labels.items():
            fits &= self._labels[pair]
        if not fits.any():
            return None
        if algorithm == "first_fit":
            position = int(fits.argmax())
        else:
            position = int(np.where(fits, self._left, np.iinfo(np.int64).max).argmin())
        self._change(position, -need)
        return self.keys[position]

    def remove(self, demand: Demand, host: str) -> None:
        """The VM is gone."""
        self._change(self._position[host], self._need(demand))

    def _change(self, position: int, by: np.ndarray) -> None:
        self._free[:, position] += by
        free = np.maximum(self._free[:, position], 0)
        self._left[position] = ((free << SHARE_BITS) // self._largest[:, 0]).sum()

    def _need(self, demand: Demand) -> np.ndarray:
        wanted = (demand.cpu, demand.memory, *(demand.resources.get(name, 0) for name in self._names))
        return np.array(wanted, dtype=np.int64)
