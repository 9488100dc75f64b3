"""The error that ends an agent."""

from __future__ import annotations


class AgentError(Exception):
    """The agent cannot go on; `str()` is one sentence, `exit_code` what the program ends with."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
