"""Messages to frames and back, without any socket.

A message travels as two frames: the codec (one byte) and the payload. Agents and coordinator speak
msgpack, clients JSON.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Sequence
from typing import Any

import msgpack
import msgspec

from protocol.messages import BODIES, TYPE_OF, Envelope, Message
from protocol.spec import Memory, SpecError, decode_json, decode_spec
from protocol.spec.parse import MAX_DEPTH

MSGPACK = b"m"
JSON = b"j"
LIMIT = 2 * 1024 * 1024
_MAX_ITEMS = 200_000


class CodecError(SpecError):
    """A message that cannot be read; `envelope` is there when at least that could be."""

    def __init__(self, message: str, field: str = "", envelope: Envelope | None = None) -> None:
        super().__init__(message, field)
        self.envelope = envelope


class Incoming(msgspec.Struct, frozen=True):
    """A message as it came in; `body` None = a type that this version does not know."""

    envelope: Envelope
    body: Message | None
    codec: bytes


def new_id() -> str:
    """A fresh message or command id."""
    return uuid.uuid4().hex


def encode(message: Message, *, id: str, re: str | None = None, codec: bytes = MSGPACK) -> list[bytes]:  # noqa: A002
    """The frames of a message. In JSON a `bytes` field becomes base64 text."""
    binary = (bytes,) if codec == MSGPACK else ()
    body = msgspec.to_builtins(message, builtin_types=binary, enc_hook=_enc_hook)
    fields: dict[str, Any] = {"type": TYPE_OF[type(message)], "id": id, "v": 1, "body": body}
    if re is not None:
        fields["re"] = re
    if codec == MSGPACK:
        return [MSGPACK, msgpack.packb(fields, use_bin_type=True)]
    return [JSON, json.dumps(fields, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()]


def decode(frames: Sequence[bytes], limit: int = LIMIT) -> Incoming:
    """Read frames; `limit` is in bytes. Raises CodecError with one sentence on anything wrong."""
    if len(frames) != 2:
        raise CodecError(f"message of {len(frames)} frames; it must have 2, the codec and the payload")
    codec, payload = bytes(frames[0]), frames[1]
    if len(payload) > limit:
        raise CodecError(f"message of {len(payload)} bytes is over the limit of {limit} bytes")
    if codec == MSGPACK:
        raw = _unpack(payload)
    elif codec == JSON:
        raw = _read_json(payload)
    else:
        raise CodecError(f"message with the unknown codec {codec[:8]!r}; known are b'm' and b'j'")
    _check_values(raw)
    try:
        envelope = decode_spec(raw, Envelope, "envelope")
    except SpecError as error:
        raise CodecError(error.message, error.field) from error
    kind = BODIES.get(envelope.type)
    if kind is None:
        return Incoming(envelope, None, codec)
    try:
        return Incoming(envelope, decode_spec(envelope.body, kind, envelope.type), codec)
    except SpecError as error:
        raise CodecError(error.message, error.field, envelope) from error


def _enc_hook(value: object) -> object:
    if isinstance(value, Memory):
        return value.to_json()
    raise NotImplementedError(type(value))


def _read_json(payload: bytes) -> Any:
    try:
        return decode_json(payload, "message")
    except SpecError as error:
        raise CodecError(error.message, error.field) from error


def _unpack(payload: bytes) -> Any:
    try:
        return msgpack.unpackb(
            payload,
            raw=False,
            strict_map_key=True,
            object_pairs_hook=_object,
            ext_hook=_no_ext,
            max_str_len=len(payload),
            max_bin_len=len(payload),
            max_array_len=_MAX_ITEMS,
            max_map_len=_MAX_ITEMS,
            max_ext_len=0,
        )
    except UnicodeDecodeError as error:
        raise CodecError("message is not valid msgpack: a text in it is not UTF-8") from error
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        text = str(error) or type(error).__name__
        raise CodecError(f"message is not valid msgpack: {text}") from error


def _object(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if not isinstance(name, str):
            raise ValueError(f"the field name {name[:40]!r} is not text")
        if name in found:
            raise ValueError(f"the field {name[:40]!r} stands twice in one object")
        found[name] = value
    return found


def _no_ext(code: int, _data: bytes) -> Any:
    raise ValueError(f"extension type {code} is not used here")


def _check_values(value: object) -> None:
    """Refuse what would hurt later: deep nesting, numbers that are none, text that has no encoding."""
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        deeper: list[object] = []
        for item in level:
            _check_value(item)
            if isinstance(item, dict):
                for name in item:
                    _check_value(name)
                deeper.extend(item.values())
            elif isinstance(item, list):
                deeper.extend(item)
        if not deeper:
            return
        level = deeper
    raise CodecError(f"message is nested too deeply; at most {MAX_DEPTH} levels are read")


def _check_value(item: object) -> None:
    if isinstance(item, float) and not math.isfinite(item):
        raise CodecError(f"message holds {item}, which is not a number that can be used")
    if isinstance(item, int) and not -(2**63) <= item < 2**64:
        raise CodecError("message holds a number of more than 64 bits")
    if isinstance(item, msgpack.Timestamp):
        raise CodecError("message holds a msgpack timestamp; times are plain numbers of seconds")
    if isinstance(item, str) and not item.isascii():
        try:
            item.encode()
        except UnicodeEncodeError as error:
            raise CodecError("message holds text that cannot be encoded as UTF-8") from error
