"""Records by key that say what changed, so that whatever follows from them can be kept up to date."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

K = TypeVar("K")
R = TypeVar("R")


class Table(dict[K, R], Generic[K, R]):
    """A dict that calls `changed(key, before, after)` after every change; None = not there."""

    def __init__(
        self, changed: Callable[[K, R | None, R | None], None], items: Iterable[tuple[K, R]] = ()
    ) -> None:
        super().__init__()
        self._changed = changed
        for key, record in items:
            self[key] = record

    def __setitem__(self, key: K, record: R) -> None:
        before = self.get(key)
        super().__setitem__(key, record)
        self._changed(key, before, record)

    def __delitem__(self, key: K) -> None:
        before = self[key]
        super().__delitem__(key)
        self._changed(key, before, None)

    def pop(self, key: K, *default: Any) -> Any:
        """The record, which is there no more."""
        if key not in self:
            return super().pop(key, *default)
        record = self[key]
        del self[key]
        return record

    def clear(self) -> None:
        """Forget all records."""
        for key in list(self):
            del self[key]
