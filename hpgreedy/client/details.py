"""What a refusal says beyond its sentence, for a person."""

from __future__ import annotations

from typing import Any

import msgspec

from hpgreedy.client.explain import explanation
from hpgreedy.client.grid import Grid
from protocol.explanation import Explanation

_SAID = ("VM", "outcome", "why")


def refusal(details: dict[str, Any]) -> Grid:
    """The explanation in a refusal's details, without what its sentence says; no rows where there is none."""
    try:
        why = msgspec.convert(details.get("explanation"), Explanation)
    except msgspec.ValidationError:
        return Grid((), ())
    return Grid((), tuple(row for row in explanation(why).rows if row[0] not in _SAID))
