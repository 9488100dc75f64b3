"""From builtin values to specs and back, with errors a person can act on."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import msgspec

from protocol.spec.errors import SpecError
from protocol.spec.memory import Memory
from protocol.spec.sentences import explain, shorten

T = TypeVar("T")
MAX_DEPTH = 32


def decode_spec(raw: object, kind: type[T], where: str = "") -> T:
    """Turn builtin values into `kind`; raises SpecError naming field, value and what is right.

    `where` is put before the field's path, such as ``vms[3]``.
    """

    def convert(value: object) -> T:
        return msgspec.convert(value, kind, dec_hook=_dec_hook)

    try:
        return convert(raw)
    except msgspec.ValidationError as error:
        raise explain(error, raw, kind, where, convert) from error
    except RecursionError as error:
        raise SpecError("the value is nested too deeply") from error


def encode_spec(value: object) -> Any:
    """Turn a spec into builtin values that JSON and msgpack carry (lists, never tuples)."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(value, enc_hook=_enc_hook))


def decode_json(text: bytes | str, what: str = "input") -> Any:
    """Decode JSON strictly: no NaN, no repeated keys, bounded depth. Raises SpecError."""
    try:
        raw = text.decode("utf-8") if isinstance(text, bytes) else text
    except UnicodeDecodeError as error:
        raise SpecError(f"{what} is not UTF-8 text: byte {error.start} cannot be read") from error
    try:
        value = json.loads(raw, object_pairs_hook=_no_repeats, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise SpecError(
            f"{what} is not valid JSON: {error.msg} at line {error.lineno} column {error.colno}"
        ) from error
    except RecursionError as error:
        raise SpecError(f"{what} is nested too deeply; at most {MAX_DEPTH} levels are read") from error
    except ValueError as error:
        raise SpecError(f"{what} is not valid JSON: {error}") from error
    check_depth(value, what)
    return value


def check_depth(value: object, what: str) -> None:
    """Refuse values nested more than MAX_DEPTH levels."""
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        deeper: list[object] = []
        for item in level:
            if isinstance(item, dict):
                deeper.extend(item.values())
            elif isinstance(item, list | tuple):
                deeper.extend(item)
        if not deeper:
            return
        level = deeper
    raise SpecError(f"{what} is nested too deeply; at most {MAX_DEPTH} levels are read")


def _dec_hook(kind: type, value: object) -> object:
    if issubclass(kind, Memory):
        return kind.parse(value)
    raise NotImplementedError(kind)


def _enc_hook(value: object) -> object:
    if isinstance(value, Memory):
        return value.to_json()
    raise NotImplementedError(type(value))


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for name, value in pairs:
        if name in seen:
            raise ValueError(f"the field {shorten(name)} stands twice in one object")
        seen[name] = value
    return seen


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number of JSON")
