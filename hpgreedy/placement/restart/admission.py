"""Admission: a VM is let in only where every host's VMs could still be restarted elsewhere."""

from __future__ import annotations

import enum

import msgspec

from hpgreedy.model import Demand
from hpgreedy.placement.algorithms import known
from hpgreedy.placement.constraints import check
from hpgreedy.placement.decision import NotPlaced, Placed, Reason, Rejection
from hpgreedy.placement.placer import Placer
from hpgreedy.placement.question import Question
from hpgreedy.placement.restart.loss import Loss, sentences
from hpgreedy.placement.restart.restarts import Restarts
from hpgreedy.placement.words import count

TRIES = 16
"""Hosts that are tried, in the algorithm's order, before a VM is refused."""


class Admission(enum.StrEnum):
    """off: whatever fits is let in. n1: only what every host's death leaves restartable; n1-warn: said, not
    refused.
    """

    OFF = "off"
    N1 = "n1"
    N1_WARN = "n1-warn"


class Admitted(msgspec.Struct, frozen=True):
    """The answer, and what it costs where that was let pass: a sentence or empty."""

    answer: Placed | NotPlaced
    note: str = ""


def admit(
    placer: Placer,
    restarts: Restarts,
    admission: Admission,
    demand: Demand,
    algorithm: str,
    *,
    seed: int = 0,
    last: str | None = None,
    explained: bool = True,
) -> Admitted:
    """Decide as `Placer.decide` does, under the admission rule; nothing is changed.

    Under n1 the algorithm is asked for its next host, `TRIES` times at most, while the one it wants leaves
    VMs with nowhere to restart. Where room must be made, the plan's outcome is judged, and no other plan is
    looked for.
    """
    answer = placer.decide(demand, algorithm, seed=seed, last=last, explained=explained)
    if admission is Admission.OFF or isinstance(answer, NotPlaced):
        return Admitted(answer)
    losses = restarts.caused_by(demand, answer)
    if not losses:
        return Admitted(answer)
    if admission is Admission.N1_WARN:
        return Admitted(answer, f"{demand.key} goes to {answer.host}, and {sentences(losses)}")
    refused = {answer.host: losses}
    if not answer.moves:
        question = Question(placer.fleet, demand, seed=seed, last=last)
        found = _next(placer, restarts, question, algorithm, refused)
        if found is not None:
            why = f"{found.why}; {answer.host} would come first, but there: {sentences(losses)}"
            return Admitted(msgspec.structs.replace(found, why=why))
    return Admitted(_refusal(placer, demand, algorithm, refused, moved=bool(answer.moves)))


def _next(
    placer: Placer,
    restarts: Restarts,
    question: Question,
    algorithm: str,
    refused: dict[str, tuple[Loss, ...]],
) -> Placed | None:
    """The first host after those refused that keeps N+1; the ones that do not are added to `refused`."""
    for host in refused:
        question = question.without(placer.fleet.position[host])
    while len(refused) < TRIES:
        position = known(algorithm).choose(question)
        if position is None:
            return None
        placed = placer.on(question, position, algorithm)
        losses = restarts.caused_by(question.demand, placed, most=1)
        if not losses:
            return placed
        refused[placed.host] = losses
        question = question.without(position)
    return None


def _refusal(
    placer: Placer, demand: Demand, algorithm: str, refused: dict[str, tuple[Loss, ...]], *, moved: bool
) -> NotPlaced:
    rejections = []
    for position, host in placer.fleet.standing_hosts():
        if host.key in refused:
            detail = sentences(refused[host.key])
            rejections.append(Rejection(host=host.key, reason=Reason.N1, detail=detail))
        else:
            rejection = check(placer.fleet, demand, position)
            untried = Rejection(host=host.key, reason=Reason.N1, detail=f"not among the {TRIES} hosts tried")
            rejections.append(rejection or untried)
    first = next(iter(refused))
    how = f"with room made on {first}" if moved else f"on {first}"
    more = len(refused) - 1
    no_better = f"{count(more, 'more host')} {'is' if more == 1 else 'are'}"
    others = "" if len(refused) == 1 else f", and {no_better} no better"
    return NotPlaced(
        rejections=tuple(rejections),
        why=f"it fits, but not so that every host's VMs could be restarted elsewhere: {how}, "
        f"{sentences(refused[first])}{others}",
        ever=True,
        algorithm=algorithm,
    )
