"""The tables as the newest revision makes them; the migrations in `migrations/` make them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Integer, MetaData, String, Table, Text

REVISIONS = ("0001",)
"""Every revision this version knows, oldest first; the migrations hold the same, and a test compares."""
HEAD = REVISIONS[-1]
VERSION_TABLE = "hpgreedy_schema"

metadata = MetaData()

epoch = Table(
    "epoch",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
)
records = Table(
    "records",
    metadata,
    Column("kind", String(64), primary_key=True),
    Column("key", String(256), primary_key=True),
    Column("value", Text, nullable=False),
)
log = Table(
    "log",
    metadata,
    # SQLite counts up by itself in an INTEGER column only.
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("at", Float(53), nullable=False, index=True),
    Column("epoch", BigInteger, nullable=False),
    Column("batch", Text, nullable=False),
    sqlite_autoincrement=True,
)
