"""How long a search may go on: in seconds, in rounds, or both."""

from __future__ import annotations

import math
from collections.abc import Callable

# Rounds between two looks at the clock: some clocks take as long to read as a short round.
STRIDE = 8


class Budget:
    """Counts rounds and reads the given clock (in seconds); over when either is spent."""

    def __init__(self, clock: Callable[[], float], seconds: float, rounds: int | None = None) -> None:
        self._clock = clock
        self._start = clock()
        self._seconds = seconds
        self._rounds = math.inf if rounds is None else rounds
        self.used = 0
        self._late = False

    def share(self, part: float) -> Callable[[], bool]:
        """Whether that part (0..1) of the seconds is gone; rounds do not count."""
        return lambda: self._clock() - self._start >= part * self._seconds

    def round(self) -> bool:
        """Take one more round; False when the budget does not have it."""
        if self.used % STRIDE == 0:
            self._late = self._clock() - self._start >= self._seconds
        if self._late or self.used >= self._rounds:
            return False
        self.used += 1
        return True

    def part(self, part: float) -> Budget:
        """A budget of that part (0..1) of what is left of this one, to be spent now."""
        left = self._seconds - (self._clock() - self._start)
        rounds = None if math.isinf(self._rounds) else int(part * (self._rounds - self.used))
        return Budget(self._clock, part * left, rounds)

    def spent(self, part: Budget) -> None:
        """Count the rounds of a part as this budget's own."""
        self.used += part.used
