"""The one error that bad input raises."""


class SpecError(ValueError):
    """Input that breaks the specification; `str()` is one sentence naming field, value and what is right.

    `field` is the path to the offending value, such as ``vms[0].memory``.
    """

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.field = field
