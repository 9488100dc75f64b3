"""Tokens, and joining with one."""

from __future__ import annotations

import msgspec

from hpgreedy.client.connection import run_join
from hpgreedy.client.grid import Grid
from hpgreedy.client.session import Session, make
from hpgreedy.client.units import duration
from protocol.verbs import TokenCreate, TokenCreated


class JoinedView(msgspec.Struct, frozen=True, kw_only=True):
    """What `join` prints: the name under which the key is known, the cluster and the coordinator."""

    name: str
    cluster: str
    address: str
    port: int


def create(session: Session, role: str, name: str, ttl: float) -> None:
    """Print a new token; alone on its line, so that it can be copied."""
    request = make(TokenCreate, role=role, name=name, ttl=ttl)
    found = session.ask("token.create", request, TokenCreated)
    session.screen.text(found, found.token)
    if session.screen.terminal:
        program = (
            "run_server.py ADDRESS PORT MEMORY --join" if role == "agent" else "run_client.py ADDRESS join"
        )
        session.screen.line(f"Good once, within {duration(ttl)}: {program} TOKEN")


def join(session: Session, token: str) -> None:
    """Introduce this client's own key and keep it."""
    access = run_join(session.common, session.address, token, None, again=True)
    view = JoinedView(name=access.name, cluster=access.cluster, address=access.address, port=access.port)
    where = f"{access.address}:{access.port}"
    session.show(view, Grid((), (("joined", access.cluster), ("as", access.name), ("at", where))))
