"""From builtin values to specs and back, with errors a person can act on."""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

import msgspec

from protocol.spec.errors import SpecError
from protocol.spec.fields import NAME_PATTERN, NAME_RULE
from protocol.spec.memory import Memory

T = TypeVar("T")
MAX_DEPTH = 32
_AT = re.compile(r"(?P<what>.*?)(?: - at `(?P<path>[^`]*)`)?\Z", re.DOTALL)
_STEP = re.compile(r"\.(?P<name>[^.\[\]]+)|\[(?P<index>\d+|\.\.\.)\]")
_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


def decode_spec(raw: object, kind: type[T], where: str = "") -> T:
    """Turn builtin values into `kind`; raises SpecError naming field, value and what is right.

    `where` is put before the field's path, such as ``vms[3]``.
    """
    try:
        return msgspec.convert(raw, kind, dec_hook=_dec_hook)
    except msgspec.ValidationError as error:
        raise _explain(str(error), raw, where) from error
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


def shorten(value: object, limit: int = 60) -> str:
    """The value as JSON-like text, cut to `limit` characters."""
    try:
        text = json.dumps(value, ensure_ascii=True, default=repr)
    except (ValueError, RecursionError):
        text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


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


def _explain(text: str, raw: object, where: str) -> SpecError:
    match = _AT.match(text)
    assert match is not None
    what, path = match["what"], (match["path"] or "$")
    value, field = _follow(raw, path)
    shown = (where + field).lstrip(".") or where
    return SpecError(_sentence(what, shown, value), shown)


def _follow(raw: object, path: str) -> tuple[object, str]:
    """The value at a msgspec path, and the path as a person writes it."""
    value: Any = raw
    field = ""
    for step in _STEP.finditer(path[1:]):
        if step["name"] is not None:
            field += "." + step["name"]
            value = value.get(step["name"]) if isinstance(value, dict) else None
        elif step["index"] == "...":
            field += "[...]"
            value = None
        else:
            field += f"[{step['index']}]"
            index = int(step["index"])
            value = value[index] if isinstance(value, list | tuple) and index < len(value) else None
    return value, field


def _sentence(what: str, field: str, value: object) -> str:
    unknown = re.match(r"Object contains unknown field `(.*)`", what, re.DOTALL)
    if unknown:
        name = shorten(unknown[1])
        return f"{field + ' has' if field else 'there is'} the unknown field {name}"
    missing = re.match(r"Object missing required field `(.*)`", what)
    if missing:
        return f"{field or 'the object'} lacks the field {missing[1]!r}, which must be given"
    if what.startswith("Expected"):
        return f"{field or 'the input'} is {shorten(value)}; it must be {_wanted(what)}"
    return f"{field} {what}" if field else what


def _wanted(what: str) -> str:
    if "matching regex" in what:
        return NAME_RULE if NAME_PATTERN in what.replace("\\\\", "\\") else what.split("Expected ", 1)[1]
    wanted = what.removeprefix("Expected ").split(", got")[0]
    for name, words in _TYPES.items():
        wanted = wanted.replace(f"`{name}`", words)
    union = re.fullmatch(r"`([a-z |]+)`", wanted)
    if union:
        return " or ".join(_TYPES.get(part, part) for part in union[1].split(" | "))
    wanted = wanted.replace("of length", "of a length")
    return re.sub(r" (>=|<=|<|>) ", lambda m: _COMPARED[m[1]], wanted)


_COMPARED = {">=": " of at least ", "<=": " of at most ", "<": " below ", ">": " above "}
