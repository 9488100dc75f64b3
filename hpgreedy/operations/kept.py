"""How long things are kept that have ended: requests for repeating them, operations for looking at them."""

from __future__ import annotations

from itertools import chain

from hpgreedy.operations.context import Context
from hpgreedy.operations.world import World

REQUESTS_KEPT = 86400.0
"""Seconds for which a repeated request is known to be the same."""
EVERY, SOONEST = 3600.0, 60.0
"""Seconds between two rounds of forgetting, and when there is too much."""
AT_ONCE = 2000
"""Operations forgotten in one event; nothing else is answered meanwhile."""


class Keeping:
    """Says what may go, in rounds; it remembers only when the last one was."""

    def __init__(self) -> None:
        self._last = float("-inf")
        self._going: list[int] = []

    def clean(self, ctx: Context) -> None:
        """Forget what is old, when it is time for that."""
        world = ctx.world
        since = ctx.now.mono - self._last
        too_many = len(world.operations) - len(world.open) > 1.1 * world.settings.most_operations
        if since >= EVERY or (too_many and since >= SOONEST):
            self._last = ctx.now.mono
            for key, request in list(world.requests.items()):
                if ctx.now.wall - request.at > REQUESTS_KEPT:
                    ctx.drop_request(key)
            self._going = forgettable(world, ctx.now.wall)
        if self._going:
            # What was needed by nothing when the round began may be needed now.
            taken, self._going = self._going[:AT_ONCE], self._going[AT_ONCE:]
            needed = _needed(world)
            for number in taken:
                if number not in needed:
                    ctx.drop_operation(number)


def forgettable(world: World, wall: float) -> list[int]:
    """Operations that have ended too long ago, or are too many, and that nothing refers to; oldest first."""
    needed = _needed(world)
    ended = sorted((op.updated, op.id) for op in world.operations.values() if op.done)
    surplus = len(ended) - world.settings.most_operations
    oldest = wall - 86400.0 * world.settings.keep_operations
    return [
        number
        for n, (updated, number) in enumerate(ended)
        if (n < surplus or updated < oldest) and number not in needed
    ]


def _needed(world: World) -> set[int]:
    """What an open operation, a VM, or a request that may be repeated refers to."""
    needed = set(chain.from_iterable(request.operations for request in world.requests.values()))
    needed.update(vm.made_by for vm in world.vms.values())
    for op in world.open_operations():
        needed.update(op.children)
        needed.update(number for number in (op.parent, op.retry_of) if number is not None)
    return needed
