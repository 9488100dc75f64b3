"""How an agent's own key becomes known to the coordinator, and what it keeps of that."""

from __future__ import annotations

from pathlib import Path

import msgspec
import structlog

from agent.errors import AgentError
from protocol.codec import MSGPACK
from protocol.messages import Goodbye
from protocol.spec import SpecError
from protocol.transport.access import JoinToken, LocalAccess, PeerAccess, local_access_path
from protocol.transport.addresses import is_local
from protocol.transport.dealer import Dealer, request
from protocol.transport.errors import TransportError
from protocol.transport.joining import join
from protocol.transport.keys import KeyPair, load_or_create_keys

_LOG = structlog.get_logger("joining")


class _Way(msgspec.Struct, frozen=True):
    """A way in: whom to trust and the key that introduces us."""

    server_public: str
    introducer: KeyPair
    names: bool  # whether the one who made the key gave it this host's name


async def access_for(
    state: Path, state_root: Path, address: str, port: int, *, name: str, token: str
) -> PeerAccess:
    """The agent's access, joining first where that is needed; `token` "" = none given.

    Raises AgentError when there is no way in or the coordinator refuses, TransportError for damaged files
    or a coordinator that does not answer.
    """
    path = state / "access.json"
    try:
        stored = PeerAccess.load(path)
    except FileNotFoundError:
        stored = None
    way = _by_token(token) if token else _by_local_file(state_root, address, port, stored)
    if stored is not None and (way is None or _is_done(stored, way)):
        return stored
    if way is None:
        raise AgentError(
            "this host has not joined a cluster: get a token on the head node with "
            "`python run_client.py <coordinator_ip> token create`, then start again with --join TOKEN"
        )
    return await _join(path, way, address, port, name)


def _by_token(text: str) -> _Way:
    try:
        token = JoinToken.decode(text)
    except SpecError as error:
        raise AgentError(error.message, 2) from error
    return _Way(token.server_public, token.keys, True)


def _by_local_file(root: Path, address: str, port: int, stored: PeerAccess | None) -> _Way | None:
    """The local admin's key, when this is the head node; an access elsewhere is not replaced by it."""
    if stored is not None and not is_local(address):
        return None
    try:
        local = LocalAccess.load(local_access_path(root))
    except FileNotFoundError:
        return None
    except TransportError:
        if stored is not None:
            return None
        raise
    if local.port != port:
        if stored is not None:
            return None
        raise AgentError(
            f"port is {port}; the coordinator on this machine listens on {local.port}: give that port, or "
            "--join TOKEN for another coordinator",
            2,
        )
    return _Way(local.server_public, local.keys, False)


def _is_done(stored: PeerAccess, way: _Way) -> bool:
    same = stored.server_public == way.server_public and stored.introducer == way.introducer.public
    return same and stored.joined


async def _join(path: Path, way: _Way, address: str, port: int, name: str) -> PeerAccess:
    key_file = path.parent / "keys.json"
    known_before = key_file.exists()
    keys = load_or_create_keys(key_file)
    cluster = ""
    try:
        joined = await join(
            address, port, way.server_public, way.introducer, keys.public, role="agent", name=name
        )
        cluster = joined.cluster
        name = joined.name if way.names else name
    except TransportError as error:
        # An earlier attempt may have been cut off after the coordinator had used up the token.
        if not (known_before and await _let_in(address, port, way.server_public, keys)):
            raise AgentError(str(error)) from error
    access = PeerAccess(
        server_public=way.server_public,
        keys=keys,
        port=port,
        address=address,
        cluster=cluster,
        name=name,
        introducer=way.introducer.public,
    )
    access.save(path)
    _LOG.info("joined", cluster=cluster, name=name)
    return access


async def _let_in(address: str, port: int, server_public: str, keys: KeyPair) -> bool:
    """Whether the coordinator knows this key: a goodbye before any hello is harmless and is answered."""
    dealer = Dealer(address, port, server_public, keys)
    await dealer.connect()
    try:
        await request(dealer, Goodbye(), 3.0, MSGPACK)
    except TransportError:
        return False
    finally:
        await dealer.close()
    return True
