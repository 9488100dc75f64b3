"""What the death of a host would cost."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from hpgreedy.placement.words import some


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """If `host` died, no place was found for `vms` on the other hosts that are up."""

    host: str
    vms: tuple[str, ...]

    def sentence(self) -> str:
        """Such as ``if h1 died, a, b, c and 2 more could not be restarted``."""
        return f"if {self.host} died, {some(self.vms, between=', ')} could not be restarted"


def sentences(losses: Sequence[Loss]) -> str:
    """The first of them, and how many hosts more there are."""
    return some([loss.sentence() for loss in losses])
