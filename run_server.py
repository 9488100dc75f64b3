"""The agent of one host: `python run_server.py <coordinator_ip> <port> <memory_gib>`."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence

from agent.errors import AgentError
from agent.main import serve
from agent.options import own_name, read
from protocol.logs import configure_logs
from protocol.options import OptionError


def main(argv: Sequence[str] | None = None) -> int:
    """Run an agent, or `setup`; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments[:1] == ["setup"]:
            from agent.setup import run

            return run(arguments[1:])
        settings, options = read(arguments)
        configure_logs(options["log-level"], options["log-format"], host=settings.name or own_name())
        asyncio.run(serve(settings))
    except OptionError as error:
        print(f"run_server.py: {error}", file=sys.stderr)
        return 2
    except AgentError as error:
        print(f"run_server.py: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads that still wait for a hypervisor must not hold up the end.
    os._exit(code)
