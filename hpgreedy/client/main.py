"""The program: read the command line, run the verb or the prompt, turn every failure into a sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hpgreedy.client.arguments import Line, read_line
from hpgreedy.client.errors import INTERRUPTED, ClientError, UnreachableError, UsageError
from hpgreedy.client.screen import Screen

if TYPE_CHECKING:
    from hpgreedy.client.session import Session

_NO_ADDRESS = (
    "the coordinator's address is missing: 'run_client.py ADDRESS [ALGORITHM]' opens the prompt, "
    "'run_client.py ADDRESS VERB' runs a verb and '--help' lists the verbs"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line (default: the program's own) and return the exit code.

    0 done, 1 refused, failed or unreachable, 2 bad usage or input, 130 interrupted or nobody reads on.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    screen = Screen(json="--json" in words)
    try:
        try:
            code = _run(words, screen)
        except ClientError as error:
            screen.failure(error)
            code = error.exit_code
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _nobody_reads()
        return INTERRUPTED
    return code


def _run(words: Sequence[str], screen: Screen) -> int:
    from hpgreedy.client.app import VERBS, run

    if not words:
        raise UsageError(_NO_ADDRESS, "address")
    line = read_line(words, VERBS)
    if not line.words and line.address is None:
        raise UsageError(_NO_ADDRESS, "address")
    if line.words and (line.words[0] in VERBS or line.words[0].startswith("-")):
        return run(line, screen)
    return _prompt(line, screen)


def _prompt(line: Line, screen: Screen) -> int:
    from hpgreedy.client.prompt import Prompt
    from hpgreedy.client.session import Session

    with Session(line.common, line.address, screen) as session:
        algorithm = line.words[0] if line.words else None
        if algorithm is not None:
            _check_algorithm(session, algorithm, line.words[1:])
        return Prompt(session, algorithm).run()


def _check_algorithm(session: Session, word: str, more: Sequence[str]) -> None:
    from hpgreedy.client.app import VERBS
    from hpgreedy.client.prompt import known_algorithms

    verbs = f"verbs are {', '.join(VERBS)}"
    try:
        known = known_algorithms(session)
    except UnreachableError as error:
        raise UsageError(
            f"{word!r} is no verb ({verbs}), and whether it is an algorithm cannot be asked: {error.message}",
            "verb",
        ) from error
    if word not in known:
        raise UsageError(
            f"{word!r} is neither a verb nor an algorithm; {verbs}; algorithms are {', '.join(known)}", "verb"
        )
    if more:
        raise UsageError(
            f"{more[0]!r} stands after the algorithm {word}, where nothing more is expected", more[0]
        )


def _nobody_reads() -> None:
    """Let the interpreter flush into nothing at its end instead of complaining."""
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, sys.stdout.fileno())
    except (OSError, ValueError):
        pass
    finally:
        os.close(sink)


if __name__ == "__main__":
    sys.exit(main())
