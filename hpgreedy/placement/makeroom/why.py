"""A chain of moves in words."""

from __future__ import annotations

from collections.abc import Sequence

from hpgreedy.placement.decision import Move
from hpgreedy.placement.words import amount, count


def why(host: str, moves: Sequence[Move], runner_up: str | None, memory: int | None) -> str:
    """Why these moves, in their order, and what the next best host would have cost."""
    if not moves:
        return f"{host} has room as it is"
    parts = [f"{move.vm} ({amount(move.memory)}) from {move.source} to {move.target}" for move in moves]
    if len(moves) == 1:
        told = f"no host has room, and moving {parts[0]} makes room on {host}"
    else:
        total = amount(sum(move.memory for move in moves))
        told = (
            f"no host has room, and {count(len(moves), 'move')} of {total} in all make room on {host}: "
            + ", then ".join(parts)
        )
    if runner_up is None or memory is None:
        return told
    return f"{told}; on {runner_up} it would take {amount(memory)}"
