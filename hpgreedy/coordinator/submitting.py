"""The verbs that place VMs: for real, or to see what would be done."""

from __future__ import annotations

from hpgreedy.coordinator.access import Caller
from hpgreedy.coordinator.acts import Started, find_host
from hpgreedy.coordinator.core import Core
from hpgreedy.coordinator.views import placement_view
from hpgreedy.operations import requests
from hpgreedy.operations.context import Context, Refusal
from hpgreedy.operations.places import Planned, plan
from hpgreedy.operations.records import OperationRecord
from hpgreedy.placement import ALGORITHMS
from protocol import verbs
from protocol.spec import VmSpec, decode_spec


def submit(core: Core, caller: Caller, ask: verbs.Submit) -> Started:
    """Create VMs."""
    algorithm, specs, notes = _asked(core, ask)
    placements: list[verbs.PlacementView] = []

    def act(ctx: Context) -> tuple[OperationRecord, ...]:
        def explain(planned: list[Planned]) -> None:
            placements.extend(placement_view(ctx, each) for each in planned)

        return requests.submit(
            ctx, caller.name, specs, algorithm, core.mint_uuid, explain=explain if ask.explain else None
        )

    return Started(act, notes, placements)


def place(core: Core, caller: Caller, ask: verbs.Place) -> verbs.PlacementPlan:
    """What submit would do."""
    algorithm, specs, notes = _asked(core, ask)
    ctx = Context(core.world, core.now())
    planned = plan(ctx, specs, algorithm, explained=ask.explain)
    if ALGORITHMS[algorithm].waits:
        notes = (*notes, f"with {algorithm} a VM that fills no host waits first: `op show` says for what")
    return verbs.PlacementPlan(
        placements=tuple(placement_view(ctx, each) for each in planned), notes=(*notes, *ctx.notes)
    )


def _asked(core: Core, ask: verbs.Submit) -> tuple[str, list[VmSpec], tuple[str, ...]]:
    """The algorithm, the VMs, and notes to whoever asked. Raises Refusal and SpecError."""
    algorithm = ask.algorithm or core.world.settings.algorithm
    if algorithm not in ALGORITHMS:
        known = ", ".join(sorted(ALGORITHMS))
        raise Refusal("bad_request", f"algorithm is {algorithm!r}; known are {known}", "algorithm")
    specs = [decode_spec(raw, VmSpec, f"vms[{n}]") for n, raw in enumerate(ask.vms)]
    for n, spec in enumerate(specs):
        if spec.host is not None:
            find_host(core, spec.host, f"vms[{n}].host")
        if spec.numa_nodes is not None:
            raise Refusal(
                "bad_request",
                f"vms[{n}].numa_nodes cannot be chosen in a submit; the placer chooses the nodes: "
                "leave it out, and give numa, the number of nodes",
                f"vms[{n}].numa_nodes",
            )
    if core.world.settings.default_image is None and any(spec.image is None for spec in specs):
        return algorithm, specs, ("no default_image is set, so VMs without an image get no disk",)
    return algorithm, specs, ()
