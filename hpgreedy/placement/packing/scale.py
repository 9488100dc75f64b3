"""One scale for unlike resources: shares of a typical bin, weighted by how scarce each resource is."""

from __future__ import annotations

import numpy as np

from hpgreedy.placement.packing.problem import FloatArray, Problem


def unit(problem: Problem) -> FloatArray:
    """[resources]: what bins have free of each resource on average; 1 where none has any."""
    mean = np.maximum(problem.free, 0).sum(axis=0, dtype=np.float64) / max(problem.bins, 1)
    return np.where(mean > 0, mean, 1.0)


def scarcity(problem: Problem) -> FloatArray:
    """[resources]: demand over what is free in all, with mean 1: the weights of Panigrahy et al. 2011."""
    demand = (problem.need / unit(problem)).sum(axis=0)
    mean = demand.mean() if demand.size else 0.0
    return demand / mean if mean > 0 else np.ones(problem.resources)


def counted(problem: Problem) -> FloatArray:
    """[items]: all nearly 1, less for larger ones: for when each counts and not all can be placed."""
    size = sizes(problem)
    return 1.0 - 0.1 * size / size.max() if size.size else size


def sizes(problem: Problem) -> FloatArray:
    """[items]: the weighted sum of what each takes, with mean 1 (all 1 when no item takes anything)."""
    size = (problem.need / unit(problem)) @ scarcity(problem)
    mean = size.mean() if size.size else 0.0
    return size / mean if mean > 0 else np.ones(problem.items)
