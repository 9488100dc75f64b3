"""How much a search may take."""

from __future__ import annotations

from hpgreedy.placement.makeroom.plan import Limits


class Spent(Exception):  # noqa: N818 - it ends a search, which is no error
    """The search has taken what it may."""


class Effort:
    """Counts what is looked at, and looks at the clock now and then."""

    def __init__(self, limits: Limits) -> None:
        self._left = limits.effort
        self._clock = limits.clock
        self._end = limits.clock() + limits.seconds

    def spend(self, amount: int = 1) -> None:
        """So much more is looked at. Raises Spent when that is too much, or too late."""
        self._left -= amount
        if self._left < 0 or self._clock() > self._end:
            raise Spent
