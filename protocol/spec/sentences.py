"""From msgspec's errors to sentences that name the field, the value and what would be right."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from protocol.spec.errors import SpecError
from protocol.spec.fields import NAME_PATTERN, NAME_RULE

Step = str | int
_AT = re.compile(r"(?P<what>.*?)(?: - at (?P<key>`key` in )?`(?P<path>[^`]*)`)?\Z", re.DOTALL)
_STEP = re.compile(r"\.(?P<name>[^.\[\]]+)|\[(?P<index>\d+|\.\.\.)\]")
_FIELD = re.compile(r"(?P<name>[a-z_]+)(?:\[\d+\])?")
_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_COMPARED = {">=": " of at least ", "<=": " of at most ", "<": " below ", ">": " above "}


def shorten(value: object, limit: int = 60) -> str:
    """The value as JSON-like text, cut to `limit` characters."""
    try:
        text = json.dumps(value, ensure_ascii=True, default=repr)
    except (ValueError, RecursionError):
        text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def explain(
    error: msgspec.ValidationError, raw: object, kind: Any, where: str, convert: Callable[[object], object]
) -> SpecError:
    """The error that `convert` raised for `raw`, as a sentence. kind: the type that was wanted."""
    text = str(error)
    match = _AT.match(text)
    assert match is not None
    what, path = match["what"], _steps(match["path"] or "$", bool(match["key"]))
    places = _places(raw, path, lambda value: _error_of(value, convert) == text)
    if match["key"]:
        *places, key = places
        field = where + _shown(places)
        return SpecError(
            f"{field} has the name {shorten(key)}; it must be {_wanted(what)}", field.lstrip(".")
        )
    value = _at(raw, places)
    field = (where + _shown(places)).lstrip(".") or where
    if what.startswith("Invalid enum value"):
        known = ", ".join(shorten(each) for each in _choices(kind, places))
        return SpecError(f"{field} is {shorten(value)}; it must be one of {known}", field)
    inner = _FIELD.match(what)
    if inner and isinstance(value, dict) and inner["name"] in value:
        prefix = f"{field}." if field else ""
        return SpecError(prefix + what, prefix + inner[0])
    return SpecError(_sentence(what, field, value), field)


def _steps(path: str, key: bool) -> list[Step | None]:
    """A msgspec path; None stands for a name that msgspec does not tell."""
    steps: list[Step | None] = []
    for step in _STEP.finditer(path[1:]):
        index = step["index"]
        steps.append(step["name"] if index is None else None if index == "..." else int(index))
    return [*steps, None] if key else steps


def _places(raw: object, steps: list[Step | None], fails: Callable[[object], bool]) -> list[Step]:
    """The same path with the names found: an object's items up to that name fail alike, fewer do not."""
    found: list[Step] = []
    for step in steps:
        value = _at(raw, found)
        if step is not None or not isinstance(value, dict):
            found.append("..." if step is None else step)
            continue
        items = list(value.items())
        low, high = 0, len(items)
        while high - low > 1:
            middle = (low + high) // 2
            if fails(_changed(raw, found, dict(items[:middle]))):
                high = middle
            else:
                low = middle
        found.append(items[low][0])
    return found


def _error_of(value: object, convert: Callable[[object], object]) -> str | None:
    try:
        convert(value)
    except msgspec.ValidationError as error:
        return str(error)
    return None


def _changed(raw: Any, places: list[Step], value: object) -> object:
    """`raw` with another value at a place."""
    if not places:
        return value
    copy: Any = dict(raw) if isinstance(raw, dict) else list(raw)
    copy[places[0]] = _changed(raw[places[0]], places[1:], value)
    return copy


def _at(raw: object, places: list[Step]) -> object:
    value: Any = raw
    for place in places:
        if isinstance(value, dict):
            value = value.get(place)
        elif isinstance(value, list | tuple) and isinstance(place, int) and place < len(value):
            value = value[place]
        else:
            return None
    return value


def _shown(places: list[Step]) -> str:
    return "".join(f"[{place}]" if isinstance(place, int) else f".{place}" for place in places)


def _choices(kind: Any, places: list[Step]) -> list[object]:
    """The values that a place of the type may have, where it lists them."""
    nodes: list[Any] = [msgspec.inspect.type_info(kind)]
    for place in places:
        nodes = [inner for node in _alternatives(nodes) for inner in _inside(node, place)]
    return [
        value
        for node in _alternatives(nodes)
        if isinstance(node, msgspec.inspect.LiteralType)
        for value in node.values
    ]


def _alternatives(nodes: list[Any]) -> Iterator[Any]:
    for node in nodes:
        if isinstance(node, msgspec.inspect.UnionType):
            yield from _alternatives(list(node.types))
        elif isinstance(node, msgspec.inspect.Metadata):
            yield from _alternatives([node.type])
        else:
            yield node


def _inside(node: Any, place: Step) -> list[Any]:
    if isinstance(node, msgspec.inspect.StructType):
        return [field.type for field in node.fields if field.encode_name == place]
    if isinstance(node, msgspec.inspect.DictType):
        return [node.value_type]
    return [node.item_type] if hasattr(node, "item_type") else []


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
