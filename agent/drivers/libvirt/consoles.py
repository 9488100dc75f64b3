"""The end of a domain's console log."""

from __future__ import annotations

import os
from pathlib import Path

from protocol.commands import ConsoleText

LONGEST = 1_000_000


def tail(path: Path, size: int) -> ConsoleText | None:
    """The last `size` bytes as text, undecodable ones replaced; None when there is no such file."""
    try:
        with path.open("rb") as file:
            total = file.seek(0, os.SEEK_END)
            file.seek(max(0, total - size))
            text = file.read(size).decode("utf-8", errors="replace")
            # An undecodable byte becomes three, and the answer must fit into one message.
            text = text.encode()[-LONGEST:].decode("utf-8", errors="ignore")
            return ConsoleText(text=text, total=total)
    except FileNotFoundError:
        return None
