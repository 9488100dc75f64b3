"""On what terms a host takes VMs, beside its capacity: its pool, its CPU models, its NUMA nodes; pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

import msgspec

from protocol.commands import CommandError, Migrate, VmPlan
from protocol.messages import NumaFacts

_NAMED = 3


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """`cpu_models` come from the poorest to the richest, `numa` in the order of the nodes' numbers."""

    pool: str
    cpu_models: tuple[str, ...] = ()
    numa: tuple[NumaFacts, ...] = ()


def refuse_unfit(plan: VmPlan, terms: Terms) -> None:
    """Raise CommandError when the plan's pool, CPU model or NUMA nodes are not to be had here."""
    spec = plan.spec
    if spec.pool is not None and spec.pool != terms.pool:
        raise CommandError(
            "refused",
            f"VM {spec.key} wants its disks in the storage pool {spec.pool}, and this host keeps VMs in the "
            f"pool {terms.pool}; nothing was changed",
        )
    if plan.cpu_model is not None and plan.cpu_model not in terms.cpu_models:
        offered = f"the richest of them is {terms.cpu_models[-1]}" if terms.cpu_models else "there are none"
        raise CommandError(
            "refused",
            f"VM {spec.key} is to have the CPU model {plan.cpu_model}, which is not among the models that "
            f"this host offers ({offered}); nothing was changed",
        )
    planned_nodes(plan, terms.numa)


def planned_nodes(plan: VmPlan, numa: Sequence[NumaFacts]) -> tuple[NumaFacts, ...]:
    """The host's nodes that the plan pins its VM to, empty for one that floats; raises CommandError."""
    wanted, spec = plan.numa_nodes, plan.spec
    if not wanted:
        return ()
    if len(set(wanted)) != len(wanted) or spec.numa != len(wanted):
        raise CommandError(
            "bad_arguments",
            f"VM {spec.key} is planned for the NUMA nodes {_listed(wanted)}; there must be "
            f"{spec.numa or 'none'} of them, as its spec says, each once; nothing was changed",
        )
    here = {found.node: found for found in numa}
    missing = [node for node in wanted if node not in here]
    if missing:
        raise CommandError(
            "refused",
            f"VM {spec.key} is planned for the NUMA nodes {_listed(wanted)}, and this host has no node "
            f"{_listed(missing)}; its nodes are {_listed(here) or 'not known'}; nothing was changed",
        )
    return tuple(here[node] for node in wanted)


def refuse_mispinned(name: str, pinned: int, order: Migrate) -> None:
    """Raise CommandError unless the order names as many of the target's nodes as the VM is pinned to."""
    if pinned != len(order.numa):
        raise CommandError(
            "bad_arguments",
            f"VM {name} is pinned to {pinned} NUMA nodes here, and the order to migrate names "
            f"{len(order.numa)} of the target's; there must be as many; it goes on here",
        )


def bad_cap(cap: str, why: str, runnable: Sequence[str]) -> CommandError:
    """The error of an ``offer-cpu`` that cannot be; `runnable` from the poorest model to the richest."""
    near = difflib.get_close_matches(cap, runnable, _NAMED) or list(reversed(runnable[-_NAMED:]))
    right = f"such as {' or '.join(near)}" if near else "but libvirt names none"
    return CommandError(
        "bad_arguments",
        f"offer-cpu is {cap!r}, {why}; it must be a CPU model that guests can have here, {right}",
    )


def cpu_list(cpus: Iterable[int]) -> str:
    """CPUs as Linux writes them: ``0-3,8``."""
    runs: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(f"{first}-{last}" if last > first else str(first) for first, last in runs)


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def broken_off_error(name: str) -> CommandError:
    """A guest was asked to shut down, and nobody wants to wait for that any more."""
    return CommandError(
        "aborted",
        f"VM {name} is no longer waited for and was not switched off; its guest was asked to shut down and "
        "may still do so",
    )
