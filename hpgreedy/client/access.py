"""Which key opens which coordinator: the head node's own, or one that joined and was kept."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hpgreedy.client.arguments import Address
from hpgreedy.client.errors import InputError, RejectedError, UnreachableError
from protocol.messages import Joined, Role
from protocol.spec import SpecError
from protocol.transport.access import (
    JoinToken,
    LocalAccess,
    PeerAccess,
    default_state_root,
    local_access_path,
)
from protocol.transport.errors import TransportError
from protocol.transport.joining import JoinRefusedError, join
from protocol.transport.keys import KeyPair, generate_keys

DEFAULT_PORT = 5000
CLIENT_ROLES: tuple[Role, ...] = ("admin", "operator", "user", "viewer")
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "*": "127.0.0.1", "": "127.0.0.1"}  # noqa: S104


class Route(NamedTuple):
    """Where a coordinator is and how it lets this client in."""

    address: str
    port: int
    server_public: str
    keys: KeyPair
    cluster: str


class Keys:
    """The access files of this client: under `state` when that is given, else in the usual places."""

    def __init__(self, state: Path | None = None) -> None:
        self._explicit = state is not None or "HPGREEDY_STATE" in os.environ
        self._root = default_state_root() if state is None else state
        self._folder = _config_folder() if state is None else state / "client"

    def route(self, address: Address | None) -> Route:
        """How to reach the coordinator at `address` (None = this machine's). Raises UnreachableError."""
        local, problem = self._local()
        if address is None or not address.host:
            if local is None:
                raise UnreachableError(problem or _no_coordinator_here(self._root))
            port = local.port if address is None or address.port is None else address.port
            return _route(local, _WILDCARDS.get(local.address, local.address), port)
        if local is not None and (self._explicit or _is_this(local, address)):
            return _route(local, address.host, address.port or local.port)
        saved = self._saved(address)
        if saved is not None:
            return _route(saved, address.host, saved.port)
        if problem and is_own_address(address.host):
            raise UnreachableError(problem)
        raise UnreachableError(
            f"this client has no key for the coordinator at {address}: make a token on the head node with "
            f"'token create --role operator' and give it here to 'run_client.py {address} join TOKEN'"
        )

    def joined_route(self, address: Address) -> Route:
        """The route that a join has just opened. Raises UnreachableError."""
        saved = self._saved(address)
        if saved is None:
            raise UnreachableError(f"the key that joined at {address} is not there any more; join again")
        return _route(saved, address.host, saved.port)

    async def join(self, address: Address, text: str, role: Role | None, again: bool) -> PeerAccess:
        """Introduce a key of this client's own with a token and keep it for later.

        With `again` False a key that has joined there before is simply used; `role` None = whatever role
        the token is for. Raises InputError, RejectedError and UnreachableError.
        """
        try:
            token = JoinToken.decode(text)
        except SpecError as error:
            raise InputError(error.message, "join") from error
        port = address.port or DEFAULT_PORT
        path = self._path(address.host, port)
        old = _load(path)
        same = old is not None and old.server_public == token.server_public
        if old is not None and same and old.joined and not again:
            return old
        access = PeerAccess(
            server_public=token.server_public,
            keys=old.keys if old is not None and same else generate_keys(),
            port=port,
            address=address.host,
            cluster="",
            name=_own_name(),
            joined=False,
        )
        try:
            # An earlier key that works is not given up for one that may be refused.
            if old is None or not old.joined:
                access.save(path)
            answer = await _join_as((role,) if role else CLIENT_ROLES, token, access)
            joined = PeerAccess(
                server_public=access.server_public, keys=access.keys, port=port, address=address.host,
                cluster=answer.cluster, name=answer.name, joined=True,
            )  # fmt: skip
            joined.save(path)
        except JoinRefusedError as error:
            raise RejectedError(error.code, str(error), "join") from error
        except TransportError as error:
            raise UnreachableError(str(error)) from error
        return joined

    def _local(self) -> tuple[LocalAccess | None, str]:
        path = local_access_path(self._root)
        try:
            return LocalAccess.load(path), ""
        except FileNotFoundError:
            return None, ""
        except TransportError as error:
            return None, f"the key of the local coordinator cannot be used: {error}"

    def _saved(self, address: Address) -> PeerAccess | None:
        if address.port is not None:
            found = _load(self._path(address.host, address.port))
        else:
            found = _load(self._path(address.host, DEFAULT_PORT)) or self._only(address.host)
        return found if found is not None and found.joined else None

    def _only(self, host: str) -> PeerAccess | None:
        paths = list(self._folder.glob(f"{_file_name(host)}_*.json")) if self._folder.is_dir() else []
        return _load(paths[0]) if len(paths) == 1 else None

    def _path(self, host: str, port: int) -> Path:
        return self._folder / f"{_file_name(host)}_{port}.json"


async def _join_as(roles: Sequence[Role], token: JoinToken, access: PeerAccess) -> Joined:
    """Join in the first role that the coordinator grants: a token does not tell its role, and is not used
    up by a refusal.
    """
    for role in roles:
        try:
            return await join(
                access.address, access.port, token.server_public, token.keys, access.keys.public,
                role=role, name=access.name,
            )  # fmt: skip
        except JoinRefusedError as error:
            refusal = error
    raise refusal


def is_own_address(host: str) -> bool:
    """Whether `host` is an address of this machine: one that a socket here can be bound to."""
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return False
    for family, kind, protocol, _name, address in found:
        with contextlib.suppress(OSError), socket.socket(family, kind, protocol) as probe:
            probe.bind(address)
            return True
    return False


def _is_this(local: LocalAccess, address: Address) -> bool:
    return address.port in (None, local.port) and (
        address.host == local.address or is_own_address(address.host)
    )


def _route(access: LocalAccess | PeerAccess, host: str, port: int) -> Route:
    return Route(host, port, access.server_public, access.keys, access.cluster)


def _load(path: Path) -> PeerAccess | None:
    try:
        return PeerAccess.load(path)
    except FileNotFoundError:
        return None
    except TransportError as error:
        raise UnreachableError(str(error)) from error


def _config_folder() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "hpgreedy"


def _file_name(host: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "-", host.lower())


def _own_name() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return re.sub(r"[^A-Za-z0-9._-]", "-", f"{user}-{socket.gethostname()}").lstrip("._-")[:63] or "client"


def _no_coordinator_here(root: Path) -> str:
    return (
        f"no coordinator has left its key under {root}; give the coordinator's address, or the folder of its "
        "state with --state"
    )
