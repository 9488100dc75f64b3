"""Answers that have been given, so that a repeated request is the same request."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class AnswerBook(Generic[T]):
    """Stores answers by message id for `ttl` seconds, at most `limit` of them; the oldest go first."""

    def __init__(self, limit: int = 10_000, ttl: float = 600.0) -> None:
        self.limit = limit
        self.ttl = ttl
        self._answers: OrderedDict[str, tuple[float, T]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, id: str, now: float) -> T | None:  # noqa: A002
        """The stored answer, or None when there is none or it is too old."""
        self._forget(now)
        found = self._answers.get(id)
        return None if found is None else found[1]

    def put(self, id: str, answer: T, now: float) -> None:  # noqa: A002
        """Store an answer; a second one for the same id replaces the first."""
        self._answers.pop(id, None)
        self._answers[id] = (now, answer)
        self._forget(now)

    def _forget(self, now: float) -> None:
        while self._answers:
            stored, _ = next(iter(self._answers.values()))
            if len(self._answers) <= self.limit and now - stored <= self.ttl:
                return
            self._answers.popitem(last=False)
