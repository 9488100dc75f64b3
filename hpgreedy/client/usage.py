"""Numbers on the command line, and one sentence of our own for what the option parser objects to."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

import typer

from hpgreedy.client.arguments import COMMON_OPTIONS
from hpgreedy.client.errors import UsageError

# UsageError itself has moved between modules over typer's releases; its child BadParameter has not.
USAGE_ERRORS: tuple[type[BaseException], ...] = (typer.BadParameter.__mro__[1],)
_QUOTED = re.compile(r"'([^']*)'")
_EXTRA = re.compile(r"extra arguments?(?:\(s\))? \((.*)\)")


def whole(name: str, least: int, most: int) -> Callable[[str | int], int]:
    """A reader of whole numbers from `least` to `most`; raises UsageError naming the option."""

    def read(value: str | int) -> int:
        text = str(value)
        if not re.fullmatch(r"-?[0-9]{1,19}", text) or not least <= int(text) <= most:
            raise UsageError(
                f"{name} is {text[:40]!r}; it must be a whole number from {least} to {most}", name
            )
        return int(text)

    return read


def seconds(name: str, least: float, most: float = 30 * 86400) -> Callable[[str | float], float]:
    """A reader of seconds from `least` to `most`; raises UsageError naming the option."""

    def read(value: str | float) -> float:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not least <= number <= most:
            raise UsageError(
                f"{name} is {str(value)[:40]!r}; it must be a number of seconds from {least:g} to {most:g}",
                name,
            )
        return number

    return read


def explain_usage(error: BaseException) -> UsageError:
    """One sentence naming the option or word and what would be right."""
    context: Any = getattr(error, "ctx", None)
    verb = "" if context is None else " ".join(context.command_path.split()[2:])
    option, param = getattr(error, "option_name", None), getattr(error, "param", None)
    if hasattr(error, "possibilities") and option is not None:
        known = ", ".join(
            (*_options(context), *(name for name in COMMON_OPTIONS if name != "--to" or not verb))
        )
        return UsageError(
            f"{option} is no option of {verb or 'this program'}; its options are {known}", option
        )
    if option is not None:
        text = _text(error)
        said = "lacks its value" if "requires" in text else text
        return UsageError(f"{option} {said}" if said != text else text, str(option))
    if param is not None:
        return _about_parameter(error, param, verb, context)
    return _about_word(error, verb, context)


def _about_parameter(error: BaseException, param: Any, verb: str, context: Any) -> UsageError:
    name = _name(param)
    if hasattr(error, "param_type"):
        return UsageError(f"{verb} lacks {name}; the usage is '{_usage(context)}'", name)
    return UsageError(f"{name} of {verb} is wrong: {_text(error)}", name)


def _about_word(error: BaseException, verb: str, context: Any) -> UsageError:
    text = _text(error)
    commands = [] if context is None else list(getattr(context.command, "commands", ()))
    if commands:
        quoted = _QUOTED.search(text)
        where = f"{verb} " if verb else ""
        what = f"there is no verb {f'{where}{quoted[1]}'!r}" if quoted else f"{verb} lacks its verb"
        return UsageError(f"{what}; there are {', '.join(f'{where}{name}' for name in commands)}", "verb")
    extra = _EXTRA.search(text)
    if extra:
        text = f"{verb} is followed by {extra[1]!r}, where nothing more is expected"
    return UsageError(f"{text}; the usage is '{_usage(context)}'", verb)


def _text(error: BaseException) -> str:
    return str(getattr(error, "message", error)).strip().rstrip(".")


def _name(param: Any) -> str:
    if getattr(param, "param_type_name", "") == "argument":
        return str(param.metavar or param.name.upper())
    return str(max(param.opts, key=len))


def _options(context: Any) -> Iterable[str]:
    for param in () if context is None else context.command.params:
        if getattr(param, "param_type_name", "") == "option":
            yield from (name for name in (*param.opts, *param.secondary_opts) if name != "--help")


def _usage(context: Any) -> str:
    if context is None:
        return ""
    words = [context.command_path]
    for param in context.command.params:
        if param.name == "help":
            continue
        name = _name(param)
        if getattr(param, "param_type_name", "") == "argument":
            words.append(name)
        elif param.required:
            words.append(f"{name} {param.metavar or ''}".strip())
    return " ".join([*words, "[OPTIONS]"])
