"""An explanation as lines: what `--json` has, for a person."""

from __future__ import annotations

from collections.abc import Iterator

from hpgreedy.client.grid import Grid
from hpgreedy.client.units import memory
from protocol.explanation import Alike, Explanation, Measure, RejectedClass, RunnerUp, Searched, Shape

_LEFT = (Measure.LEFT_OVER, Measure.MOST_LEFT)


def explanation(why: Explanation) -> Grid:
    """One VM's explanation, one line for each thing that it says."""
    return Grid((), tuple(_rows(why)))


def _rows(why: Explanation) -> Iterator[tuple[str, str]]:
    yield "VM", why.vm
    nodes = f", NUMA nodes {', '.join(map(str, why.numa_nodes))}" if why.numa_nodes else ""
    yield "outcome", f"placed on {why.host}{nodes}" if why.host is not None else "refused"
    yield "why", why.why
    for move in why.moves:
        where = f", NUMA nodes {', '.join(map(str, move.numa_nodes))}" if move.numa_nodes else ""
        yield "first move", f"{move.vm} ({memory(move.memory)}) from {move.source} to {move.target}{where}"
    if why.runner_up is not None:
        yield from _runner_up(why.runner_up, str(why.host))
    for rule in why.broken:
        yield "soft rule", rule.sentence
    yield "hosts", f"{why.taking} of {why.hosts} take it as things stand"
    for each in why.rejected:
        yield from _rejected(each)
    if why.searched is not None:
        yield "searched", _searched(why.searched)
    if why.outcome == "refused" and not why.ever:
        yield "empty hosts", "it would not fit on an empty host either"
    if why.change is not None:
        yield "smallest change", why.change.sentence
    if why.at_most is not None:
        yield "smaller", why.at_most.sentence


def _runner_up(up: RunnerUp, chosen: str) -> Iterator[tuple[str, str]]:
    yield "runner-up", f"{up.host}: {up.why}"
    if up.measure not in _LEFT and up.left is not None and up.left_on_chosen is not None:
        yield "left over", f"{_shape(up.left)} on {up.host}, {_shape(up.left_on_chosen)} on {chosen}"


def _shape(shape: Shape) -> str:
    cpus = f"{shape.cpu} cpu{'' if shape.cpu == 1 else 's'}"
    resources = (f"{units} {name}" for name, units in shape.resources.items())
    return " and ".join((f"{cpus} with {memory(shape.memory)}", *resources))


def _rejected(each: RejectedClass) -> Iterator[tuple[str, str]]:
    reason = each.reason.replace("_", " ")
    if each.groups > 1:
        name = f" ({each.name})" if each.name else ""
        yield "rejected", f"{each.count} hosts: {reason}{name}" + _cut(each)
    for alike in each.alike:
        yield "rejected", f"{_hosts(alike)}: {reason}: {alike.detail}"


def _cut(each: RejectedClass) -> str:
    if each.groups == len(each.alike):
        return ""
    return f"; the nearest {len(each.alike)} of {each.groups} groups with the same numbers:"


def _hosts(alike: Alike) -> str:
    more = alike.count - len(alike.hosts)
    return ", ".join(alike.hosts) + (f" and {more} more" if more else "")


def _searched(searched: Searched) -> str:
    moves = "single" if searched.depth == 1 else f"chains of up to {searched.depth}"
    if searched.complete:
        return f"all {moves} live migrations that could make room"
    return f"{moves} live migrations that could make room, not all of them in the time given"
