"""The options of a coordinator: defaults, then the file's table [coordinator], then the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hpgreedy.coordinator.server import CoordinatorSettings
from hpgreedy.operations.world import Settings
from hpgreedy.placement import ALGORITHMS, DEFAULT, known
from hpgreedy.placement.restart import Admission
from protocol.options import Option, OptionError, OptionTable, Parser, values
from protocol.spec import SpecError
from protocol.transport.access import default_state_root


def _algorithm(name: str, value: Any) -> str:
    try:
        return known(str(value)).name
    except SpecError as error:
        raise OptionError(f"{name}: {error.message}") from error


TABLE = OptionTable(
    "coordinator",
    {
        "listen": Option(
            parse=values.address,
            default="0.0.0.0",  # noqa: S104 - every message must come under an admitted key
            metavar="ADDRESS",
            help="address to listen on",
        ),
        "port": Option(
            parse=values.whole(0, 65535),
            default=5000,
            metavar="PORT",
            help="port to listen on; 0 = a free one",
        ),
        "state": Option(
            parse=values.folder,
            metavar="DIR",
            help="state root; the coordinator keeps its own in DIR/coordinator (default: HPGREEDY_STATE, "
            "/var/lib/hpgreedy for root, else ~/.local/state/hpgreedy)",
        ),
        "algorithm": Option(
            parse=_algorithm,
            default=DEFAULT,
            metavar="NAME",
            help=f"placement algorithm of requests that name none: {', '.join(ALGORITHMS)}",
        ),
        "default-image": Option(
            parse=values.name_of, metavar="NAME", help="image of VMs that name none (default: no disk)"
        ),
        "growth": Option(
            parse=values.number(1, 16),
            default=2.0,
            metavar="FACTOR",
            help="what a VM can grow to where it names no maximum, within what its host has",
        ),
        "host-timeout": Option(
            parse=values.number(4, 3600),
            default=8.0,
            metavar="SECONDS",
            help="silence after which a host counts as unreachable",
        ),
        "room-depth": Option(
            parse=values.whole(0, 8),
            default=2,
            metavar="MOVES",
            help="the most live migrations that are made to make room for one VM; 0 = none",
        ),
        "room-seconds": Option(
            parse=values.number(0.01, 10),
            default=1.0,
            metavar="SECONDS",
            help="how long one request may look for such migrations; nothing else is answered meanwhile",
        ),
        "admission": Option(
            parse=values.choice(*(each.value for each in Admission)),
            default=Admission.OFF.value,
            metavar="off|n1|n1-warn",
            help="n1: refuse a VM after which some host's VMs could not be restarted elsewhere if that host "
            "died; n1-warn: say so and let it in",
        ),
        "keep-operations": Option(
            parse=values.number(1, 3650),
            default=30.0,
            metavar="DAYS",
            help="how long operations that have ended are kept, of the last 50,000; those that VMs, open "
            "operations or requests of the last day refer to are kept anyway",
        ),
        "log-level": Option(
            parse=values.log_level, default="info", metavar="LEVEL", help="debug, info, warning or error"
        ),
        "log-format": Option(
            parse=values.log_format, default="text", metavar="text|json", help="form of the log"
        ),
    },
)


def parser() -> Parser:
    """The command line of a coordinator."""
    found = Parser(
        prog="run_coordinator.py",
        description="The coordinator: takes VM requests, places them and drives the agents.",
        allow_abbrev=False,
    )
    TABLE.add_config_to(found)
    TABLE.add_to(found)
    return found


def read(argv: Sequence[str]) -> tuple[CoordinatorSettings, dict[str, Any]]:
    """The settings, and all options by name. Raises OptionError; SystemExit only for --help."""
    options = TABLE.chosen(vars(parser().parse_args(list(argv))))
    settings = CoordinatorSettings(
        listen=options["listen"],
        port=options["port"],
        state_root=options["state"] or default_state_root().absolute(),
        cluster=Settings(
            algorithm=options["algorithm"],
            default_image=options["default-image"],
            growth=options["growth"],
            host_timeout=options["host-timeout"],
            admission=Admission(options["admission"]),
            room_depth=options["room-depth"],
            room_seconds=options["room-seconds"],
            keep_operations=options["keep-operations"],
        ),
    )
    return settings, options
