"""What the story needs of the place it plays in."""

import hashlib
import json
import os
import subprocess
from collections.abc import Sequence
from typing import Any, Protocol

from lab.programset import PROJECT

IMAGE = "hpg-guest"


def own_name() -> str:
    """The name of what this checkout's quickstart makes, so that several checkouts can run side by side."""
    made = "q" + hashlib.sha256(str(PROJECT).encode()).hexdigest()[:5]
    return os.environ.get("HPG_QUICKSTART_NAME", made)


class StageError(Exception):
    """Something on the stage failed; `str()` says what, and where to look."""


class Stage(Protocol):
    """A place with hosts, a coordinator and agents: real or simulated."""

    title: str
    down_command: str
    host_names: list[str]

    def clear(self) -> bool:
        """Remove what an earlier run left; tell whether there was anything."""

    def raise_hosts(self) -> str:
        """Bring the hosts up; returns a sentence about them."""

    def start_coordinator(self) -> str:
        """Start the coordinator; returns where it listens."""

    def start_agent(self, host: str) -> None:
        """Start the agent of a host."""

    def image_arguments(self) -> list[str]:
        """What follows `image add NAME`."""

    def client(self, arguments: Sequence[str], timeout: float = 60) -> "subprocess.CompletedProcess[str]":
        """Run the client to its end."""

    def open_client(self, arguments: Sequence[str]) -> "subprocess.Popen[str]":
        """Start the client."""

    def count(self, vm: dict[str, Any]) -> dict[str, Any] | None:
        """What the guest says of itself now: at least `count` and `start_id`; None when it is silent."""

    def program_problem(self) -> str:
        """A sentence when a program has ended unexpectedly, else empty."""

    def next_commands(self) -> list[str]:
        """What to type next."""

    def down(self) -> None:
        """Remove everything."""


def ask(stage: Stage, *arguments: str, timeout: float = 60) -> Any:
    """Run a client verb with --json and return its answer. Raises StageError with the client's reason."""
    done = stage.client([*arguments, "--json"], timeout)
    try:
        answer = json.loads(done.stdout)
    except json.JSONDecodeError as error:
        raise StageError(
            f"`{' '.join(arguments)}` gave no JSON: {(done.stderr or done.stdout).strip()[:500]}"
        ) from error
    if done.returncode != 0:
        reason = done.stderr.strip()
        if isinstance(answer, dict) and isinstance(answer.get("error"), dict):
            reason = answer["error"].get("message", reason)
        raise StageError(f"`{' '.join(arguments)}` failed: {reason or done.stdout.strip()[:500]}")
    return answer
