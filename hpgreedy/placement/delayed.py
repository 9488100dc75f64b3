"""Delayed bin packing: a VM may wait for a host that it fills, alone or with another one that waits.

The queue of the original HP Greedy. A VM *fills* a host that takes it and then has no vCPU or no memory left:
nothing more fits there. Every VM that comes is a round for those that wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from hpgreedy.model import Claim, Demand
from hpgreedy.placement.algorithms.delayed import NAME, filled_by
from hpgreedy.placement.algorithms.first_fit import FIRST_FIT
from hpgreedy.placement.constraints import CONSTRAINTS, check, ever_fits
from hpgreedy.placement.constraints.state import STATE
from hpgreedy.placement.decision import NotPlaced, Placed, Reason
from hpgreedy.placement.fleet import CPU, MEMORY, Fleet, positions
from hpgreedy.placement.placer import Placer
from hpgreedy.placement.restart import Gate
from hpgreedy.placement.words import count, size, some

ROUNDS = 3
"""Rounds that a VM waits at most."""

Decide = Callable[[Demand, str | None], Placed | NotPlaced]
"""Decide on a VM, on that host alone where one is named, else by first fit."""
Hold = Callable[[Demand, Placed], None]
"""Have the fleet hold a VM where it was placed."""


class Waiter(msgspec.Struct, frozen=True, kw_only=True):
    """A VM that waits, and the rounds it has waited."""

    demand: Demand
    rounds: int = 0


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """A VM that waits no longer, or never did, and its answer."""

    demand: Demand
    answer: Placed | NotPlaced


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What one event does to the queue: who is served, in that order, and who waits on; `kept` says why of
    those whose turn it was, by their keys.
    """

    served: tuple[Served, ...]
    queue: tuple[Waiter, ...]
    kept: dict[str, str] = {}


def first_fit(placer: Placer | Gate) -> Decide:
    """First fit, on all hosts or on the one that is named."""

    def decide(demand: Demand, host: str | None) -> Placed | NotPlaced:
        asked = demand if host is None else msgspec.structs.replace(demand, wanted_host=host)
        return placer.decide(asked, FIRST_FIT.name)

    return decide


class Queue:
    """The rules by which the queue moves; `hold` is called for each VM that is placed, in its order.

    patient: a VM whose turn it is waits on, its rounds unchanged, where only the state of hosts or N+1
    admission is in its way; else it is refused.
    """

    def __init__(self, fleet: Fleet, decide: Decide, hold: Hold, *, patient: bool = False) -> None:
        self.fleet = fleet
        self._decide = decide
        self._hold = hold
        self._patient = patient

    def arrive(self, waiting: tuple[Waiter, ...], demand: Demand) -> Turn:
        """A VM comes: it fills a host, or it does so with one that waits (the oldest first), or it waits.

        The VMs that were waiting before it have then waited one round more; those for which it is the last
        are placed by first fit.
        """
        served = self._alone(demand)
        if served is None:
            served = self._with_another(waiting, demand)
        if served is None and not self._ever(demand):
            served = tuple(self._first_fit((Waiter(demand=demand),), "first fit"))
        gone = {each.demand.key for each in served or ()}
        left = [waiter for waiter in waiting if waiter.demand.key not in gone]
        late = [waiter for waiter in left if waiter.rounds + 1 >= ROUNDS]
        last, kept = self._turn_of(late, f"first fit after {count(ROUNDS, 'round')}")
        gone |= {each.demand.key for each in last}
        queue = [
            waiter if waiter.demand.key in kept else Waiter(demand=waiter.demand, rounds=waiter.rounds + 1)
            for waiter in left
            if waiter.demand.key not in gone
        ]
        if served is None:
            queue.append(Waiter(demand=demand))
        return Turn(served=(*(served or ()), *last), queue=tuple(queue), kept=kept)

    def flush(self, waiting: tuple[Waiter, ...]) -> Turn:
        """All that wait are placed by first fit, the oldest first."""
        served, kept = self._turn_of(waiting, "first fit, as the queue was flushed")
        queue = tuple(waiter for waiter in waiting if waiter.demand.key in kept)
        return Turn(served=tuple(served), queue=queue, kept=kept)

    def _turn_of(self, waiters: Sequence[Waiter], why: str) -> tuple[list[Served], dict[str, str]]:
        """Who is served by first fit, and why the others wait on."""
        served: list[Served] = []
        kept: dict[str, str] = {}
        for each in self._first_fit(waiters, why):
            obstacle = self._passing(each.demand, each.answer) if self._patient else ""
            if obstacle:
                kept[each.demand.key] = obstacle
            else:
                served.append(each)
        return served, kept

    def _passing(self, demand: Demand, answer: Placed | NotPlaced) -> str:
        """What keeps the VM from a host that would else take it, in words; empty where nothing does."""
        if isinstance(answer, Placed):
            return ""
        if any(rejection.reason is Reason.N1 for rejection in answer.rejections):
            return answer.why
        fleet = self.fleet
        mask = fleet.everything & ~fleet.up
        for constraint in CONSTRAINTS:
            if constraint is not STATE:
                mask &= constraint.mask(fleet, demand)
        hosts = [fleet.hosts[position] for position in positions(mask)]
        if not hosts:
            return ""
        states = some([f"{host.key} is {host.state}" for host in hosts], between=", ")
        return f"no host that is up takes it, and hosts that would are not up: {states}"

    def _alone(self, demand: Demand) -> tuple[Served, ...] | None:
        for position in positions(filled_by(self.fleet, (demand,))):
            host = self.fleet.hosts[position].key
            placed = self._on(demand, host, f"it fills {host} exactly")
            if placed is not None:
                return (Served(demand=demand, answer=placed),)
        return None

    def _with_another(self, waiting: tuple[Waiter, ...], demand: Demand) -> tuple[Served, ...] | None:
        for waiter in waiting:
            other = waiter.demand
            for position in positions(filled_by(self.fleet, (other, demand))):
                host = self.fleet.hosts[position].key
                if not self._both(other, demand, position):
                    continue
                one = self._on(other, host, f"with {demand.key} it fills {host} exactly")
                if one is None:
                    continue
                two = self._on(demand, host, f"with {other.key} it fills {host} exactly")
                if two is None:
                    self.fleet.remove(other.key, host)
                    continue
                return (Served(demand=other, answer=one), Served(demand=demand, answer=two))
        return None

    def _both(self, one: Demand, two: Demand, position: int) -> bool:
        """Whether the host takes the one and then the other."""
        fleet = self.fleet
        if check(fleet, one, position) is not None:
            return False
        with fleet.changes.trial():
            nodes = (fleet.nodes[position].place(one) or ()) if one.numa else ()
            host = fleet.hosts[position].key
            fleet.add(Claim(demand=one, host=host, numa_nodes=nodes))
            try:
                return check(fleet, two, position) is None
            finally:
                fleet.remove(one.key, host)

    def _on(self, demand: Demand, host: str, why: str) -> Placed | None:
        answer = self._decide(demand, host)
        if isinstance(answer, NotPlaced):
            return None
        placed = msgspec.structs.replace(answer, why=f"{NAME}: {why}", algorithm=NAME)
        self._hold(demand, placed)
        return placed

    def _first_fit(self, waiters: Sequence[Waiter], why: str) -> Iterator[Served]:
        for waiter in waiters:
            answer = self._decide(waiter.demand, None)
            if isinstance(answer, Placed):
                answer = msgspec.structs.replace(answer, why=f"{NAME}: {why}", algorithm=NAME)
                self._hold(waiter.demand, answer)
            else:
                answer = msgspec.structs.replace(answer, algorithm=NAME)
            yield Served(demand=waiter.demand, answer=answer)

    def _ever(self, demand: Demand) -> bool:
        hosts = self.fleet.standing_hosts()
        return any(ever_fits(self.fleet, demand, position) for position, _ in hosts)


def waits_for(fleet: Fleet, waiter: Waiter) -> str:
    """What a VM waits for, in words."""
    free = [
        f"{host.key} has {size(*(max(fleet.columns[row].values[position], 0) for row in (CPU, MEMORY)))} free"
        for position, host in fleet.standing_hosts()
        if fleet.up >> position & 1
    ]
    text = f"waits for an exact fit: round {waiter.rounds} of {ROUNDS}"
    return f"{text}; {some(free, between=', ')}" if free else f"{text}; no host is up"
