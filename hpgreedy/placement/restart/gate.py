"""A placer that lets in only what an admission rule allows."""

from __future__ import annotations

from hpgreedy.model import Demand
from hpgreedy.placement.decision import NotPlaced, Placed
from hpgreedy.placement.placer import Placer
from hpgreedy.placement.restart.admission import Admission, admit
from hpgreedy.placement.restart.restarts import Restarts


class Gate:
    """Decides as the placer does, under the rule. notes: what was let pass all the same, in sentences."""

    def __init__(self, placer: Placer, admission: Admission) -> None:
        self.placer, self.admission = placer, admission
        self.notes: list[str] = []
        self._restarts = Restarts(placer.fleet)

    def decide(
        self,
        demand: Demand,
        algorithm: str,
        *,
        seed: int = 0,
        last: str | None = None,
        explained: bool = True,
    ) -> Placed | NotPlaced:
        """As `Placer.decide`; nothing is changed but the notes."""
        admitted = admit(
            self.placer,
            self._restarts,
            self.admission,
            demand,
            algorithm,
            seed=seed,
            last=last,
            explained=explained,
        )
        if admitted.note:
            self.notes.append(admitted.note)
        return admitted.answer
