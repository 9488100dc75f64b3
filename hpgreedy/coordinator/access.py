"""Who may come in and what they may do: decided here and nowhere else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from hpgreedy.operations.context import Context, Refusal
from hpgreedy.operations.records import KeyRecord
from hpgreedy.operations.world import World
from protocol.messages import Join
from protocol.spec.fields import NAME_RULE, is_name
from protocol.transport.access import JoinToken, LocalAccess
from protocol.transport.keys import generate_keys

LADDER = ("viewer", "user", "operator", "admin")


class Caller(msgspec.Struct, frozen=True):
    """Who sent a message: the key that ZAP vouches for, and what goes with it."""

    public_key: str
    role: str
    name: str

    def may(self, role: str) -> bool:
        """Whether the caller's role is at least `role`; an agent's key is no client's."""
        return self.role in LADDER and LADDER.index(self.role) >= LADDER.index(role)

    def owns(self, owner: str) -> bool:
        """Whether the caller may change what `owner` made: operators everything, users their own."""
        return self.may("operator") or (self.may("user") and owner == self.name)


class Keyring:
    """The admitted keys; `clock` is wall time in seconds."""

    def __init__(self, world: World, clock: Callable[[], float]) -> None:
        self._world = world
        self._clock = clock
        self._used: dict[str, str] = {}

    def admit(self, public_key: str) -> bool:
        """Whether a connection under this key is let in at all."""
        record = self._world.keys.get(public_key)
        return record is not None and (record.expires is None or record.expires > self._clock())

    def caller(self, public_key: str) -> Caller | None:
        """Who a key is; None for one-time keys (they may only join) and keys no longer admitted."""
        record = self._world.keys.get(public_key)
        if record is None or record.one_time or not self.admit(public_key):
            return None
        return Caller(public_key, record.role, record.name)

    def create_token(
        self, ctx: Context, server_public: str, role: str, name: str, ttl: float
    ) -> tuple[JoinToken, float]:
        """Mint a one-time key for somebody to join with."""
        keys = generate_keys()
        expires = self._clock() + ttl
        ctx.put_key(
            KeyRecord(
                public_key=keys.public,
                role=role,
                name=name,
                created=self._clock(),
                one_time=True,
                expires=expires,
            )
        )
        for old in [key for key in self._world.keys.values() if key.expires and key.expires < self._clock()]:
            ctx.drop_key(old.public_key)
        token = JoinToken(server_public=server_public, secret=keys.secret, public=keys.public)
        return token, expires

    def join(self, ctx: Context, public_key: str, join: Join) -> str:
        """Admit the key that a joining program brings; returns its name. Raises Refusal."""
        if self._used.get(public_key) == join.public_key:
            return self._world.keys[join.public_key].name
        record = self._world.keys.get(public_key)
        if record is None or not self.admit(public_key):
            raise Refusal("join", "this join token has been used or has expired; ask for a new one")
        if not record.one_time and record.role != "admin":
            raise Refusal("join", f"a key of role {record.role} cannot let others join")
        if record.one_time and join.role != record.role:
            raise Refusal("join", f"the token is for the role {record.role}, not {join.role}")
        name = record.name or join.name
        if not is_name(name):
            raise Refusal("join", f"name is {name[:80]!r}; it must be {NAME_RULE}")
        self._refuse_taken(record, join, name)
        if record.one_time:
            ctx.drop_key(public_key)
        self._used[public_key] = join.public_key
        ctx.put_key(KeyRecord(public_key=join.public_key, role=join.role, name=name, created=self._clock()))
        return name

    def _refuse_taken(self, record: KeyRecord, join: Join, name: str) -> None:
        """A join neither changes a known key's role nor takes a name that owns VMs of somebody else."""
        known = self._world.keys.get(join.public_key)
        if known is not None and (known.one_time or known.role != join.role):
            raise Refusal("join", f"this key is known already, with the role {known.role}")
        taken = any(
            key.name == name
            and key.public_key != join.public_key
            and not key.one_time
            and key.role != "agent"
            for key in self._world.keys.values()
        )
        if taken and join.role != "agent" and not record.name:
            raise Refusal(
                "join", f"name is {name!r}, which another key has; ask for a token made out to a name"
            )


def leave_local_access(ctx: Context, path: Path, server_public: str, *, address: str, port: int) -> None:
    """Write the file by which programs on the head node are admin; its key stays the same over restarts."""
    try:
        keys = LocalAccess.load(path).keys
    except FileNotFoundError:
        keys = generate_keys()
    cluster = ctx.world.meta.cluster
    access = LocalAccess(server_public=server_public, keys=keys, port=port, address=address, cluster=cluster)
    access.save(path)
    if keys.public not in ctx.world.keys:
        ctx.put_key(KeyRecord(public_key=keys.public, role="admin", name="local-admin", created=ctx.now.wall))


def fingerprint(public_key: str) -> str:
    """A short form of a key for logs."""
    return hashlib.sha256(public_key.encode()).hexdigest()[:12]
