"""Which hosts have changed since when, for those who keep what they have worked out about a fleet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Changes:
    """Which hosts have changed, and when; `version` counts the changes."""

    def __init__(self) -> None:
        self.version = 0
        self._at: dict[int, int] = {}
        self._noting = True

    def note(self, position: int) -> None:
        """The host at the position is another one now, or something else is held on it."""
        if not self._noting:
            return
        self.version += 1
        self._at.pop(position, None)
        self._at[position] = self.version

    def since(self, version: int) -> Iterator[int]:
        """The positions of the hosts that have changed since then, the last one first."""
        for position, at in reversed(self._at.items()):
            if at <= version:
                return
            yield position

    @contextmanager
    def trial(self) -> Iterator[None]:
        """Changes inside are not noted: whoever makes them takes them back before the end."""
        before, self._noting = self._noting, False
        try:
            yield
        finally:
            self._noting = before
