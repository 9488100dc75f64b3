"""Logs of every program: structured, to standard error, as text or JSON lines."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

LogFormat = Literal["text", "json"]
LEVELS = ("debug", "info", "warning", "error")


def configure_logs(level: str = "info", format: str = "text", **bound: object) -> None:  # noqa: A002
    """Set up structlog for the process; `bound` stands in every line, from whatever thread it comes.

    Raises ValueError for an unknown level or format.
    """
    if level not in LEVELS:
        raise ValueError(f"log level is {level!r}; it must be one of {', '.join(LEVELS)}")
    if format not in ("text", "json"):
        raise ValueError(f"log format is {format!r}; it must be text or json")
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(default=str)
        if format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )

    def bind(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        for name, value in bound.items():
            event.setdefault(name, value)
        return event

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            bind,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info if format == "json" else _keep,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(_StandardError()),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,
    )


class _StandardError:
    """Standard error as it is now; a log that nobody can read any more must not stop the program."""

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()


def _keep(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return event
