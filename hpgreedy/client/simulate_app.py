"""The simulate verbs as a person types them; what they do is imported when they run."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hpgreedy.client.usage import whole

SETTINGS: dict[str, Any] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
}
simulate = typer.Typer(help="Plan with a cluster file; no coordinator is asked.", **SETTINGS)
Seed = Annotated[
    int,
    typer.Option(
        parser=whole("--seed", 0, 2**53), metavar="S", help="What chance is drawn from, where it is."
    ),
]


@simulate.command("place")
def simulate_place(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="A cluster file; - is standard input.")],
    algorithm: Annotated[
        str, typer.Option(metavar="NAME", help="Place with this algorithm; docs/placement.md has them.")
    ] = "greedy",
    seed: Seed = 0,
) -> None:
    """Place the VMs of a cluster file that have no host, in file order; exits 1 when some fit nowhere."""
    from hpgreedy.client.verbs import simulate as verb

    verb.place(ctx.obj, file, algorithm, seed)
