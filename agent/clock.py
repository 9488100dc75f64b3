"""The coordinator's clock as the agent knows it; pure, readings are given."""

from __future__ import annotations

TRUSTED_SECONDS = 2.0


class CoordinatorClock:
    """Learns how far the coordinator's clock is from the agent's steady one.

    A time stamp that lay in a queue is older than it looks, so a sample alone may only move the estimate
    forward; one that came within TRUSTED_SECONDS of our question sets it, in either direction.
    """

    def __init__(self) -> None:
        self._offset: float | None = None

    @property
    def known(self) -> bool:
        """Whether anything has been heard."""
        return self._offset is not None

    def heard(self, theirs: float, received: float, asked: float | None = None) -> None:
        """The peer's time stamp, when it came and when it was asked for, both on our steady clock."""
        sample = theirs - received
        if asked is not None and 0 <= received - asked <= TRUSTED_SECONDS:
            self._offset = sample
        else:
            self._offset = sample if self._offset is None else max(self._offset, sample)

    def now(self, steady: float) -> float | None:
        """The coordinator's time at `steady`, None = unknown."""
        return None if self._offset is None else steady + self._offset
