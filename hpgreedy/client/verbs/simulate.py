"""simulate: what the placer would do with a cluster file; no coordinator is asked."""

from __future__ import annotations

import time

import msgspec

from hpgreedy.client.clusterfile import explained, read_cluster_file
from hpgreedy.client.errors import InputError, OperationsFailedError, UsageError
from hpgreedy.client.explain import explanation
from hpgreedy.client.grid import Grid
from hpgreedy.client.session import Session
from hpgreedy.model import Cluster, Demand, cluster_of
from hpgreedy.placement import Batch, Fleet, Limits, Placed, Placer, known, notices, place_all
from hpgreedy.placement.explain.answer import explain_answer
from hpgreedy.placement.restart import Admission
from hpgreedy.placement.words import count
from protocol.explanation import Explanation
from protocol.spec import ClusterFile, SpecError

Id = str | int
MOST_ROUNDS = 10**9
ROOM_SECONDS = 1.0
"""How long may be looked for room for one VM: what a coordinator gives a request where it is told nothing."""


class SimulatedPlacement(msgspec.Struct, frozen=True, kw_only=True):
    """A VM and the host it was given; a move further on may take it to another.

    numa_nodes: those it is pinned to, where it asks for some.
    """

    vm: Id
    host: Id
    numa_nodes: tuple[int, ...] | msgspec.UnsetType = msgspec.UNSET


class SimulatedMove(msgspec.Struct, frozen=True, kw_only=True, rename={"source": "from", "target": "to"}):
    """A live migration that makes room for the VM that comes next."""

    vm: Id
    source: Id
    target: Id


class SimulatedRejection(msgspec.Struct, frozen=True, kw_only=True):
    """The rule that keeps the VM off a host, in a word and in words; `need` and `have` where it counts
    (vCPUs, MiB or units of the resource). hosts: how many hosts it stands for, where these are many.
    """

    reason: str
    detail: str
    need: float | None = None
    have: float | None = None
    hosts: int | msgspec.UnsetType = msgspec.UNSET


class SimulatedRefusal(msgspec.Struct, frozen=True, kw_only=True):
    """A VM that no host takes: why in a sentence, and the reason of each host by its id.

    With many hosts one of them, the one that comes nearest, stands for all that the same rule rejects.
    """

    vm: Id
    why: str
    reasons: dict[str, SimulatedRejection]


class SimulatedPlacements(msgspec.Struct, frozen=True, kw_only=True):
    """What the algorithm did, each list in the order in which it happened; ids as they stand in the file.

    `seconds` is the time it took to decide, without reading the file. explanations: of each VM, in the order
    in which they were placed, where that was asked for; in them all ids are text.
    """

    placements: tuple[SimulatedPlacement, ...]
    moves: tuple[SimulatedMove, ...]
    unplaced: tuple[SimulatedRefusal, ...]
    algorithm: str
    seconds: float
    explanations: tuple[Explanation, ...] | msgspec.UnsetType = msgspec.UNSET


def limits_of(depth: int) -> Limits:
    """A coordinator's limits for a search for room, with chains of up to `depth` moves."""
    return Limits(depth=depth, seconds=ROOM_SECONDS, clock=time.monotonic)


def admission_of(text: str) -> Admission:
    """The rule of that name; raises UsageError when there is none."""
    try:
        return Admission(text)
    except ValueError:
        names = ", ".join(each.value for each in Admission)
        raise UsageError(f"--admission is {text[:40]!r}; it must be one of {names}", "--admission") from None


def place(
    session: Session,
    file: str,
    algorithm: str,
    seed: int,
    *,
    seconds: float,
    depth: int,
    admission: str,
    explain: bool = False,
) -> None:
    """Place the VMs of `file` that have no host, in file order; a batch is packed for `seconds` at most.

    Raises OperationsFailedError, after printing, when some are not placed.
    """
    try:
        known(algorithm)
    except SpecError as error:
        raise InputError(error.message, "--algorithm") from error
    rule = admission_of(admission)
    found = read_cluster_file(file, simulation=True)
    with explained(file):
        cluster, waiting = cluster_of(found)
    for sentence in _notices(cluster, waiting):
        session.screen.notice(sentence)
    limits = msgspec.structs.replace(limits_of(depth), packing_seconds=seconds, packing_rounds=MOST_ROUNDS)
    begun = time.perf_counter()
    batch = place_all(cluster, waiting, algorithm, seed=seed, limits=limits, admission=rule)
    took = round(time.perf_counter() - begun, 6)
    ids = _Ids(found)
    for sentence in batch.notes:
        session.screen.notice(sentence)
    answer = _answer(ids, tuple(demand.key for demand in waiting), batch, algorithm, took)
    grids = _grids(batch, tuple(demand.key for demand in waiting), answer)
    if explain:
        why = _explanations(cluster, waiting, batch, seed)
        answer = msgspec.structs.replace(answer, explanations=why)
        grids += tuple(explanation(each) for each in why)
    session.show(answer, *grids)
    session.screen.line(_summary(batch, answer))
    if answer.unplaced:
        first = answer.unplaced[0]
        raise OperationsFailedError(
            f"{len(answer.unplaced)} of {len(waiting)} VMs not placed; {first.vm}: {first.why}"
        )


def _notices(cluster: Cluster, demands: tuple[Demand, ...]) -> list[str]:
    ruled = [demand for demand in demands if demand.rules]
    fleet = Fleet(Cluster(cluster.hosts)) if ruled else Fleet()
    return [f"{demand.key}: {each}" for demand in ruled for each in notices(fleet, demand)]


class _Ids:
    """From keys back to ids as they stand in the file."""

    def __init__(self, file: ClusterFile) -> None:
        self.host = {host.key: host.id for host in file.hosts}
        self.vm = {vm.key: vm.id for vm in file.vms}


def _explanations(
    cluster: Cluster, waiting: tuple[Demand, ...], batch: Batch, seed: int
) -> tuple[Explanation, ...]:
    """What was decided is gone through once more, each VM explained as the cluster stood at its turn."""
    placer, last, found = Placer(Fleet(cluster)), None, []
    for number in batch.order:
        demand, answer = waiting[number], batch.answers[number]
        found.append(explain_answer(placer.fleet, demand, answer, seed=seed, last=last))
        if isinstance(answer, Placed):
            placer.commit(demand, answer)
            last = answer.host
    return tuple(found)


def _answer(
    ids: _Ids, keys: tuple[str, ...], batch: Batch, algorithm: str, seconds: float
) -> SimulatedPlacements:
    placements, moves, unplaced = [], [], []
    for key, answer in zip(keys, batch.answers, strict=True):
        if isinstance(answer, Placed):
            moves += [
                SimulatedMove(vm=ids.vm[move.vm], source=ids.host[move.source], target=ids.host[move.target])
                for move in answer.moves
            ]
            nodes = answer.numa_nodes or msgspec.UNSET
            placements.append(
                SimulatedPlacement(vm=ids.vm[key], host=ids.host[answer.host], numa_nodes=nodes)
            )
        else:
            reasons = {
                each.host: SimulatedRejection(
                    reason=each.reason.value,
                    detail=each.detail,
                    need=each.need,
                    have=each.have,
                    hosts=each.hosts if each.hosts > 1 else msgspec.UNSET,
                )
                for each in answer.rejections
            }
            unplaced.append(SimulatedRefusal(vm=ids.vm[key], why=answer.why, reasons=reasons))
    return SimulatedPlacements(
        placements=tuple(placements),
        moves=tuple(moves),
        unplaced=tuple(unplaced),
        algorithm=algorithm,
        seconds=seconds,
    )


def _grids(batch: Batch, keys: tuple[str, ...], answer: SimulatedPlacements) -> tuple[Grid, ...]:
    rows = tuple(
        (key, each.host if isinstance(each, Placed) else "-", each.why)
        for key, each in zip(keys, batch.answers, strict=True)
    )
    grids = [Grid(("VM", "HOST", "WHY"), rows, "There are no VMs to place: all have a host.")]
    if answer.moves:
        moves = tuple((str(move.vm), str(move.source), str(move.target)) for move in answer.moves)
        grids.append(Grid(("MOVED", "FROM", "TO"), moves))
    return tuple(grids)


def _summary(batch: Batch, answer: SimulatedPlacements) -> str:
    hosts = batch.cluster.hosts
    busy = sum(1 for key in hosts if batch.cluster.claims_on(key))
    return (
        f"{answer.algorithm} placed {len(answer.placements)} of {len(batch.answers)} VMs "
        f"with {count(len(answer.moves), 'move')} in {answer.seconds:.3f} s; "
        f"{busy} of {len(hosts)} hosts hold VMs"
    )
