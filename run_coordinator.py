"""The coordinator: `python run_coordinator.py` on the head node."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from hpgreedy.coordinator.server import Coordinator, CoordinatorSettings
from hpgreedy.operations.ports import StoreError
from hpgreedy.operations.world import Settings
from hpgreedy.placement import ALGORITHMS, DEFAULT, known
from protocol.logs import LEVELS, configure_logs
from protocol.spec import SpecError
from protocol.spec.fields import NAME_RULE, is_name
from protocol.transport.access import default_state_root
from protocol.transport.errors import TransportError


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        _refuse(f"{message}; see run_coordinator.py --help")


def _refuse(sentence: str) -> NoReturn:
    print(f"run_coordinator.py: {sentence}", file=sys.stderr)
    raise SystemExit(2)


def _number(name: str, least: float, most: float, whole: bool = False) -> Any:
    def parse(text: str) -> float:
        kind = "a whole number" if whole else "a number"
        try:
            value = int(text) if whole else float(text)
        except ValueError:
            _refuse(f"{name} is {text!r}; it must be {kind} from {least:g} to {most:g}")
        if not least <= value <= most:
            _refuse(f"{name} is {text}; it must be {kind} from {least:g} to {most:g}")
        return value

    return parse


def parser() -> argparse.ArgumentParser:
    """The command line; every option may also stand in the [coordinator] table of the --config file."""
    arguments = _Parser(
        prog="run_coordinator.py",
        description="The coordinator: takes VM requests, places them and drives the agents.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    arguments.add_argument(
        "--config", type=Path, metavar="FILE.toml", help="options from a file: [coordinator]"
    )
    arguments.add_argument("--listen", default="0.0.0.0", metavar="ADDRESS", help="address to listen on")  # noqa: S104
    arguments.add_argument(
        "--port", type=_number("--port", 0, 65535, True), default=5000, help="port; 0 = a free one"
    )
    arguments.add_argument("--state", type=Path, default=default_state_root(), metavar="DIR",
                           help="state root; the coordinator keeps its own in DIR/coordinator")  # fmt: skip
    arguments.add_argument("--algorithm", default=DEFAULT, metavar="NAME",
                           help=f"default placement algorithm: {', '.join(ALGORITHMS)}")  # fmt: skip
    arguments.add_argument("--default-image", metavar="NAME", help="image of VMs that name none")
    arguments.add_argument("--growth", type=_number("--growth", 1, 16), default=2.0,
                           help="what a VM can grow to where it names no maximum, as a factor")  # fmt: skip
    arguments.add_argument("--host-timeout", type=_number("--host-timeout", 4, 3600), default=8.0,
                           metavar="SECONDS", help="silence after which a host is unreachable")  # fmt: skip
    arguments.add_argument("--log-level", choices=LEVELS, default="info", help="least level that is logged")
    arguments.add_argument("--log-format", choices=("text", "json"), default="text", help="form of the log")
    return arguments


def options(argv: Sequence[str]) -> argparse.Namespace:
    """Command line over file over defaults. Ends the process with one sentence on bad input."""
    arguments = parser()
    first = arguments.parse_args(argv)
    if first.config is not None:
        arguments.set_defaults(**_from_file(arguments, first.config))
        first = arguments.parse_args(argv)
    try:
        known(first.algorithm)
    except SpecError as error:
        _refuse(f"--{error.message}")
    if first.default_image is not None and not is_name(first.default_image):
        _refuse(f"--default-image is {first.default_image[:80]!r}; it must be {NAME_RULE}")
    return first


def _from_file(arguments: argparse.ArgumentParser, path: Path) -> dict[str, Any]:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        _refuse(f"--config {path} cannot be read: {error}")
    except tomllib.TOMLDecodeError as error:
        _refuse(f"--config {path} is not valid TOML: {error}")
    table = data.get("coordinator", {})
    if not isinstance(table, dict):
        _refuse(f"--config {path}: coordinator must be a table")
    known_options = {
        action.dest: action for action in arguments._actions if action.dest not in ("help", "config")
    }
    found: dict[str, Any] = {}
    for name, value in table.items():
        action = known_options.get(name)
        if action is None:
            _refuse(f"--config {path}: unknown option {name!r}; known are {', '.join(sorted(known_options))}")
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            _refuse(f"--config {path}: {name} is {value!r}; it must be text or a number")
        if action.choices is not None and value not in action.choices:
            _refuse(f"--config {path}: {name} is {value!r}; it must be one of {', '.join(action.choices)}")
        found[name] = action.type(str(value)) if callable(action.type) else str(value)
    return found


async def _serve(coordinator: Coordinator) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, coordinator.stop)
    await coordinator.run()


def main(argv: Sequence[str]) -> int:
    """Run until SIGTERM or SIGINT; exit code 0, 1 (failed) or 2 (bad usage)."""
    chosen = options(argv)
    configure_logs(chosen.log_level, chosen.log_format, program="coordinator")
    settings = CoordinatorSettings(
        listen=chosen.listen,
        port=chosen.port,
        state_root=chosen.state,
        cluster=Settings(
            algorithm=chosen.algorithm,
            default_image=chosen.default_image,
            growth=chosen.growth,
            host_timeout=chosen.host_timeout,
        ),
    )
    try:
        asyncio.run(_serve(Coordinator(settings)))
    except (StoreError, TransportError, SpecError) as error:
        print(f"run_coordinator.py: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"run_coordinator.py: the state folder {chosen.state} cannot be used: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
