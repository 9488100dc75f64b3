"""What can go wrong for a person at the command line; each carries one sentence and an exit code."""

from __future__ import annotations

from typing import Any

DONE, FAILED, BAD_USAGE, INTERRUPTED = 0, 1, 2, 130


class ClientError(Exception):
    """A stable `code`, one sentence, the `field` or option it is about, and the exit code."""

    def __init__(self, code: str, message: str, field: str = "", exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.exit_code = exit_code
        self.details: dict[str, Any] = {}


class UsageError(ClientError):
    """The command line itself is wrong; nothing was asked of anybody."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__("usage", message, field, BAD_USAGE)


class InputError(ClientError):
    """A file or value is wrong; found before anything was sent."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__("bad_request", message, field, BAD_USAGE)


class RejectedError(ClientError):
    """The coordinator understood and said no; the code is the reply's own, and so are the details."""

    def __init__(
        self, code: str, message: str, field: str = "", details: dict[str, Any] | None = None
    ) -> None:
        from protocol.verbs import EXIT_CODES

        super().__init__(code, message, field, EXIT_CODES.get(code, FAILED))
        self.details = details or {}


class UnreachableError(ClientError):
    """No answer came, or nothing lets this client in."""

    def __init__(self, message: str) -> None:
        super().__init__("unreachable", message)


class OperationsFailedError(ClientError):
    """Operations ended badly or are still open after the time allowed; their figures are printed already."""

    def __init__(self, message: str) -> None:
        super().__init__("failed", message)
