"""Whether a peer is still heard, with the time given from outside."""

from __future__ import annotations

from typing import Literal


class Liveness:
    """Up while something was heard within `timeout` seconds; a peer never heard is silent."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._last: float | None = None

    @property
    def last(self) -> float | None:
        """When the peer was heard last, None = never."""
        return self._last

    def heard(self, now: float) -> None:
        """Something came in at `now`; an older `now` than the last changes nothing."""
        self._last = now if self._last is None else max(self._last, now)

    def state(self, now: float) -> Literal["up", "silent"]:
        """How the peer stands at `now`; exactly `timeout` seconds of silence are still up."""
        if self._last is None or now - self._last > self.timeout:
            return "silent"
        return "up"
