"""The two ways in which a lab command ends badly."""


class LabError(Exception):
    """Something failed: the text says what, the state things are in and what to do (exit code 1)."""


class UsageError(LabError):
    """The caller asked for something that cannot be meant (exit code 2)."""
