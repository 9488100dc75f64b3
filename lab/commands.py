"""Running the machine's tools: always a list, always with a time-out, failures in words."""

import shlex
import subprocess
from collections.abc import Sequence

from lab.errors import LabError


def run(command: Sequence[str], text: str | None = None, seconds: float = 30) -> str:
    """Run a tool and return its output."""
    try:
        done = subprocess.run(
            list(command),
            input=text,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            stdin=subprocess.DEVNULL if text is None else None,
        )
    except FileNotFoundError as error:
        raise LabError(f"{command[0]} is not installed; install it and try again") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"`{shlex.join(command)}` did not end within {seconds:.0f} s") from error
    if done.returncode != 0:
        raise LabError(_failure(command, done.returncode, done.stderr or done.stdout))
    return done.stdout


def run_together(commands: Sequence[Sequence[str]], seconds: float = 60) -> None:
    """Run several tools at the same time; wait for all, then report the first failure."""
    running = [
        subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for command in commands
    ]
    failures = []
    try:
        for command, process in zip(commands, running, strict=True):
            try:
                _, errors = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                failures.append(f"`{shlex.join(command[-4:])}` did not end within {seconds:.0f} s")
                continue
            if process.returncode != 0:
                failures.append(_failure(command, process.returncode, errors))
    finally:
        for process in running:
            if process.poll() is None:
                process.kill()
                process.wait()
    if failures:
        raise LabError(failures[0])


def _failure(command: Sequence[str], code: int, output: str) -> str:
    return f"`{shlex.join(command)}` failed with exit code {code}: {output.strip() or 'it gave no reason'}"
