"""`python -m agent.placeholder FOLDER…`: certificates with which libvirtd starts, in each folder without any.

For whoever makes hosts before there is a coordinator; `run_server.py setup` does the same on one host.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from agent import pki
from agent.errors import AgentError


def main(folders: list[str]) -> int:
    """Make what is missing; 0, or 1 with a sentence."""
    try:
        for folder in map(Path, folders):
            if pki.look(folder).certificate is None:
                pki.write_placeholder(folder, time.time())
    except AgentError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
