"""The coordinator: `python run_coordinator.py` on the head node."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence

from hpgreedy.coordinator.options import read
from hpgreedy.coordinator.server import Coordinator
from hpgreedy.operations.ports import StoreError
from protocol.logs import configure_logs
from protocol.options import OptionError
from protocol.spec import SpecError
from protocol.transport.errors import TransportError


async def _serve(coordinator: Coordinator) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, coordinator.stop)
    await coordinator.run()


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; exit code 0, 1 (failed) or 2 (bad usage)."""
    try:
        settings, options = read(sys.argv[1:] if argv is None else argv)
        configure_logs(options["log-level"], options["log-format"], program="coordinator")
        asyncio.run(_serve(Coordinator(settings)))
    except OptionError as error:
        print(f"run_coordinator.py: {error}", file=sys.stderr)
        return 2
    except (StoreError, TransportError, SpecError) as error:
        print(f"run_coordinator.py: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"run_coordinator.py: the state folder cannot be used: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
