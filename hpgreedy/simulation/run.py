"""Run a stream of requests through a placer."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

from hpgreedy.model import Cluster, Demand
from hpgreedy.placement import Fleet, Limits, NotPlaced, Placed, Placer, known
from hpgreedy.placement.delayed import Queue, Turn, Waiter, first_fit
from hpgreedy.placement.restart import Admission, Gate
from hpgreedy.simulation.course import Course, Sample, Shape, sample
from hpgreedy.simulation.stream import Arrival

SAMPLES = 240


class _Run:
    """The cluster between two requests, and what has been counted so far.

    used, peak: hosts that hold a VM, now and at most since the first request.
    """

    def __init__(
        self, cluster: Cluster, algorithm: str, seed: int, limits: Limits, admission: Admission
    ) -> None:
        self.placer = Placer(Fleet(cluster), limits)
        self.gate = Gate(self.placer, admission)
        self.algorithm, self.seed = algorithm, seed
        self.leaving: list[tuple[float, int, str]] = []
        self.last: str | None = None
        self.queue = Queue(self.placer.fleet, first_fit(self.gate), self._hold)
        self.waiting: tuple[Waiter, ...] = ()
        self.came: dict[str, tuple[int, Arrival]] = {}
        self.placed = self.rejected = self.rejected_cpu = self.moves = self.moved = 0
        fleet = self.placer.fleet
        self.used = self.peak = sum(1 for position, _ in fleet.standing_hosts() if fleet.count(position))

    def leave(self, now: float) -> None:
        """Those whose time is up by `now` are gone."""
        fleet = self.placer.fleet
        while self.leaving and self.leaving[0][0] <= now:
            _, _, vm = heapq.heappop(self.leaving)
            for position in fleet.places(vm):
                fleet.remove(vm, fleet.hosts[position].key)
                self.used -= not fleet.count(position)

    def come(self, number: int, arrival: Arrival) -> None:
        """A request is placed or refused, or it waits; then it stays as long from when it is placed."""
        demand = arrival.demand
        if known(self.algorithm).waits:
            self.came[demand.key] = (number, arrival)
            self._serve(self.queue.arrive(self.waiting, demand), arrival.at)
            return
        answer = self.gate.decide(demand, self.algorithm, seed=self.seed, last=self.last, explained=False)
        if isinstance(answer, Placed):
            self._hold(demand, answer)
        self._answered(number, arrival, answer, arrival.at)

    def end(self, now: float) -> None:
        """Nothing more comes: whoever still waits is placed or refused."""
        self._serve(self.queue.flush(self.waiting), now)

    def _hold(self, demand: Demand, placed: Placed) -> None:
        fleet = self.placer.fleet
        named = {placed.host, *(host for move in placed.moves for host in (move.source, move.target))}
        touched = [fleet.position[host] for host in named]
        before = sum(1 for position in touched if fleet.count(position))
        self.placer.commit(demand, placed)
        self.used += sum(1 for position in touched if fleet.count(position)) - before
        self.peak = max(self.peak, self.used)

    def _serve(self, turn: Turn, now: float) -> None:
        self.waiting = turn.queue
        for each in turn.served:
            self._answered(*self.came.pop(each.demand.key), each.answer, now)

    def _answered(self, number: int, arrival: Arrival, answer: Placed | NotPlaced, now: float) -> None:
        demand = arrival.demand
        if isinstance(answer, NotPlaced):
            self.rejected += 1
            self.rejected_cpu += demand.cpu
            return
        self.last = answer.host
        self.placed += 1
        self.moves += len(answer.moves)
        self.moved += sum(move.memory for move in answer.moves)
        if arrival.stays is not None:
            heapq.heappush(self.leaving, (now + arrival.stays, number, demand.key))


def run(
    cluster: Cluster,
    arrivals: Sequence[Arrival],
    algorithm: str,
    *,
    seed: int = 0,
    shape: Shape,
    limits: Limits,
    clock: Callable[[], float],
    admission: Admission = Admission.OFF,
) -> Course:
    """What becomes of the stream; `clock` measures what it takes and decides nothing.

    Samples are taken at even times from the first request to the last. Raises SpecError for an unknown
    algorithm.
    """
    state = _Run(cluster, algorithm, seed, limits, admission)
    begin, end = arrivals[0].at, arrivals[-1].at
    times = [begin + (end - begin) * (n + 1) / SAMPLES for n in range(SAMPLES)]
    samples: list[Sample] = []
    begun, looking = clock(), 0.0

    def look(until: float) -> None:
        nonlocal looking
        while len(samples) < SAMPLES and times[len(samples)] < until:
            at = times[len(samples)]
            state.leave(at)
            before = clock()
            samples.append(sample(state.placer.fleet, shape, at - begin, state.rejected))
            looking += clock() - before

    for number, arrival in enumerate(arrivals):
        look(arrival.at)
        state.leave(arrival.at)
        state.come(number, arrival)
    state.end(end)
    look(float("inf"))
    return _course(state, arrivals, tuple(samples), clock() - begun - looking)


def _course(state: _Run, arrivals: Sequence[Arrival], samples: tuple[Sample, ...], seconds: float) -> Course:
    count = len(samples)
    return Course(
        algorithm=state.algorithm,
        placed=state.placed,
        rejected=state.rejected,
        rejected_cpu=state.rejected_cpu / sum(arrival.demand.cpu for arrival in arrivals),
        stranding=len(state.gate.notes),
        moves=state.moves,
        moved=state.moved,
        hosts_peak=state.peak,
        hosts_mean=sum(each.hosts_used for each in samples) / count,
        cpu_mean=sum(each.cpu for each in samples) / count,
        memory_mean=sum(each.memory for each in samples) / count,
        fragmentation_mean=sum(each.fragmentation for each in samples) / count,
        seconds=seconds,
        samples=samples,
    )
