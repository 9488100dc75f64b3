"""Where records and the log of their changes are kept: SQLite, or memory for tests and simulations."""

from hpgreedy.store.memory import MemoryStore
from hpgreedy.store.opening import open_store
from hpgreedy.store.sql import SqlStore

__all__ = ["MemoryStore", "SqlStore", "open_store"]
