"""What an algorithm is."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from hpgreedy.placement.question import Question


class Algorithm(msgspec.Struct, frozen=True, kw_only=True):
    """A placement algorithm: what it does in a sentence, where it comes from, and how it chooses.

    choose: the position of its host, None when it wants none of the candidates. why: what speaks for a host
    it chose, in words. makes_room: when no host takes a VM, live migrations that make room are looked for.
    waits: VMs of a request wait in the queue of `hpgreedy.placement.delayed`; `choose` is for one VM alone.
    batch: the VMs of one request are placed together, and `choose` is for one that comes alone.
    """

    name: str
    summary: str
    source: str
    choose: Callable[[Question], int | None]
    why: Callable[[Question, int], str]
    makes_room: bool = False
    waits: bool = False
    batch: bool = False
