"""What lets a program in: join tokens, the head node's own key file, a joined program's file."""

from __future__ import annotations

import base64
import binascii
import os
import zlib
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from zmq.utils import z85

from protocol.messages import Key, ShortText
from protocol.spec import SpecError
from protocol.transport.errors import TransportError
from protocol.transport.files import read_private, write_private
from protocol.transport.keys import KeyPair, checked, public_of

TOKEN_PREFIX = "hpg1."  # noqa: S105 - a version mark, no secret
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
T = TypeVar("T", bound="_Access")


class JoinToken(msgspec.Struct, frozen=True, kw_only=True):
    """The coordinator's public key and a one-time key pair that it admits for `join` alone."""

    server_public: Key
    secret: Key
    public: Key

    def __repr__(self) -> str:
        return f"JoinToken(public={self.public!r})"

    @property
    def keys(self) -> KeyPair:
        """The one-time key pair."""
        return KeyPair(public=self.public, secret=self.secret)

    def encode(self) -> str:
        """The token as the text a person copies."""
        raw = b"".join(z85.decode(part.encode()) for part in (self.server_public, self.secret, self.public))
        return TOKEN_PREFIX + base64.urlsafe_b64encode(raw + zlib.crc32(raw).to_bytes(4, "big")).decode()

    @classmethod
    def decode(cls, text: str) -> JoinToken:
        """Read a token; raises SpecError with a sentence (which does not repeat the secret)."""
        text = text.strip()
        if not text.startswith(TOKEN_PREFIX):
            raise SpecError(f"the join token is wrong: it must begin with {TOKEN_PREFIX!r}", "join")
        try:
            data = base64.b64decode(text.removeprefix(TOKEN_PREFIX).encode("ascii"), b"-_", validate=True)
        except (binascii.Error, UnicodeError) as error:
            raise SpecError(_DAMAGED, "join") from error
        raw, check = data[:96], data[96:]
        if len(raw) != 96 or check != zlib.crc32(raw).to_bytes(4, "big"):
            raise SpecError(_DAMAGED, "join")
        server, secret, public = (z85.encode(raw[at : at + 32]).decode() for at in (0, 32, 64))
        if public_of(secret) != public:
            raise SpecError(_DAMAGED, "join")
        return cls(server_public=server, secret=secret, public=public)


_DAMAGED = "the join token is wrong: it is cut short or damaged; copy it whole, in one piece"


class _Access(msgspec.Struct, frozen=True, kw_only=True):
    server_public: Key
    keys: KeyPair
    port: Port
    address: ShortText
    cluster: ShortText

    def save(self, path: Path) -> None:
        """Write the file (0600, atomically, durably). Raises TransportError."""
        write_private(path, msgspec.json.encode(self))

    @classmethod
    def load(cls: type[T], path: Path) -> T:
        """Read the file. Raises FileNotFoundError when it is not there, else TransportError."""
        data = read_private(path)
        try:
            access = msgspec.json.decode(data, type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise TransportError(f"{path} is damaged: {error}; remove it and join again") from error
        checked(access.keys, str(path))
        return access


class LocalAccess(_Access, frozen=True, kw_only=True):
    """How programs on the head node itself reach the coordinator as admin."""


class PeerAccess(_Access, frozen=True, kw_only=True):
    """What a joined program keeps; `joined` False = its Join has not been answered yet.

    `introducer` is the public key under which it joined (a token's or the local admin's).
    """

    name: ShortText = ""
    joined: bool = True
    introducer: ShortText = ""


def default_state_root() -> Path:
    """Where programs keep their state: HPGREEDY_STATE, else the system's or the user's folder."""
    named = os.environ.get("HPGREEDY_STATE")
    if named:
        return Path(named)
    if os.geteuid() == 0:
        return Path("/var/lib/hpgreedy")
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "hpgreedy"


def local_access_path(root: Path) -> Path:
    """Where the coordinator leaves the local admin's access, under a state root."""
    return root / "coordinator" / "local-admin.json"
