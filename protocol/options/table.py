"""A program's table of options: its command line and its configuration file are both made from it."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from protocol.options.values import OptionError, Parse


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One option: how its value is read, its default (None = see `help`) and what it is for."""

    parse: Parse
    help: str
    default: Any = None
    metavar: str = ""
    flag: bool = False
    repeated: bool = False


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are sentences."""

    def error(self, message: str) -> NoReturn:
        """Raise OptionError instead of printing the usage."""
        raise OptionError(f"{message}; see {self.prog} --help")


class OptionTable:
    """Options by name (with ``-``), and the table of a TOML file in which they stand (with ``_``)."""

    def __init__(self, section: str, options: Mapping[str, Option]) -> None:
        self.section = section
        self.options = dict(options)

    def add_to(self, parser: argparse.ArgumentParser, names: Sequence[str] | None = None) -> None:
        """Add options to a command line; what is not given is absent from the namespace."""
        for name in names or self.options:
            option = self.options[name]
            shown = option.help
            if not isinstance(option.default, bool | dict | None):
                shown += f" (default: {option.default})"
            given: dict[str, Any] = {"help": shown.replace("%", "%%"), "default": argparse.SUPPRESS}
            if option.flag:
                given["action"] = "store_true"
            else:
                given["metavar"] = option.metavar
                if option.repeated:
                    given["action"] = "append"
            parser.add_argument(f"--{name}", dest=name, **given)

    def add_config_to(self, parser: argparse.ArgumentParser) -> None:
        """Add ``--config FILE.toml``."""
        parser.add_argument(
            "--config",
            metavar="FILE.toml",
            help=f"options from a file, in its table [{self.section}], with _ for -; the command line wins",
        )

    def chosen(self, given: Mapping[str, Any], names: Sequence[str] | None = None) -> dict[str, Any]:
        """Values by option name, checked, from `given` (with its ``config``, if any) and the defaults.

        Raises OptionError.
        """
        config = given.get("config")
        merged = {**(self.from_file(Path(config)) if config else {}), **given}
        found = {}
        for name in names or self.options:
            option = self.options[name]
            value = merged.get(name, option.default)
            found[name] = None if value is None else option.parse(f"--{name}", value)
        return found

    def from_file(self, path: Path) -> dict[str, Any]:
        """Options of the file's table, unchecked. Raises OptionError for a bad file or an unknown key."""
        try:
            document = tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise OptionError(f"--config is '{path}', which cannot be read: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise OptionError(f"--config is '{path}', which is not valid TOML: {error}") from error
        section = document.get(self.section, {})
        if not isinstance(section, dict):
            raise OptionError(f"{path}: {self.section} must be a table, [{self.section}]")
        known = {name.replace("-", "_"): name for name in self.options}
        for key in section:
            if key not in known:
                raise OptionError(
                    f"{path}: [{self.section}] has the unknown key {key!r}; known are {', '.join(known)}"
                )
        return {known[key]: value for key, value in section.items()}
