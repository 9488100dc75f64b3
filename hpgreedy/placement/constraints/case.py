"""The question every rule answers."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from hpgreedy.model import Demand, Host, Used
from hpgreedy.placement.decision import Reason, Rejection


class Case(msgspec.Struct, frozen=True):
    """May `demand` go to `host` while `used` is held there? `already` = the VM holds something there."""

    demand: Demand
    host: Host
    used: Used
    already: bool = False

    def reject(
        self, reason: Reason, detail: str, need: float | None = None, have: float | None = None
    ) -> Rejection:
        """A rejection by this host."""
        return Rejection(host=self.host.key, reason=reason, need=need, have=have, detail=detail)


Rule = Callable[[Case], Rejection | None]
