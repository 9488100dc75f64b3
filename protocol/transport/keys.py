"""CURVE key pairs and the files they live in."""

from __future__ import annotations

from pathlib import Path

import msgspec
import zmq

from protocol.messages import Key
from protocol.transport.errors import TransportError
from protocol.transport.files import read_private, write_private


class KeyPair(msgspec.Struct, frozen=True, kw_only=True):
    """A CURVE key pair as z85 text; the secret never shows in a repr."""

    public: Key
    secret: Key

    def __repr__(self) -> str:
        return f"KeyPair(public={self.public!r})"


def generate_keys() -> KeyPair:
    """A fresh key pair."""
    public, secret = zmq.curve_keypair()
    return KeyPair(public=public.decode(), secret=secret.decode())


def public_of(secret: str) -> str:
    """The public half of a z85 secret key. Raises ValueError for anything else."""
    try:
        return zmq.curve_public(secret.encode()).decode()
    except (zmq.ZMQError, UnicodeError) as error:
        raise ValueError("the secret key is not a CURVE key") from error


def checked(keys: KeyPair, where: str) -> KeyPair:
    """The same keys when both halves belong together. Raises TransportError naming `where`."""
    try:
        good = public_of(keys.secret) == keys.public
    except ValueError:
        good = False
    if not good:
        raise TransportError(
            f"{where} does not hold a valid key pair; restore it, or remove it and join again"
        )
    return keys


def load_or_create_keys(path: Path) -> KeyPair:
    """The key pair in `path`; made there (mode 0600, durable) when the file does not exist.

    Raises TransportError when others may read the file or it holds no key pair.
    """
    try:
        return _load(path)
    except FileNotFoundError:
        write_private(path, msgspec.json.encode(generate_keys()), replace=False)
        return _load(path)


def _load(path: Path) -> KeyPair:
    data = read_private(path)
    try:
        keys = msgspec.json.decode(data, type=KeyPair)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise TransportError(
            f"{path} does not hold a key pair: {error}; restore it, or remove it and join again"
        ) from error
    return checked(keys, str(path))
