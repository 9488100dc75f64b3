"""The simulate verbs as a person types them; what they do is imported when they run."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hpgreedy.client.usage import seconds, whole

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
Depth = Annotated[
    int,
    typer.Option(
        parser=whole("--depth", 0, 8),
        metavar="N",
        help="The most live migrations that make room for one VM: the coordinator's --room-depth.",
    ),
]
Rule = Annotated[
    str,
    typer.Option(
        "--admission",
        metavar="off|n1|n1-warn",
        help="n1: refuse a VM after which some host's VMs could not be restarted elsewhere if it died; "
        "n1-warn: say so and let it in.",
    ),
]


@simulate.command("place")
def simulate_place(  # noqa: PLR0917 - typer's parameters are given by name
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="A cluster file; - is standard input.")],
    algorithm: Annotated[
        str, typer.Option(metavar="NAME", help="Place with this algorithm; docs/placement.md has them.")
    ] = "greedy",
    seed: Seed = 0,
    seconds_: Annotated[
        float,
        typer.Option(
            "--seconds",
            parser=seconds("--seconds", 0.1, 86400),
            metavar="S",
            help="How long packed may look for fewer hosts.",
        ),
    ] = 8.0,
    depth: Depth = 2,
    admission: Rule = "off",
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Say of each VM why there, what came next, and what rejected it."),
    ] = False,
) -> None:
    """Place the VMs of a cluster file that have no host, in file order; exits 1 when some fit nowhere."""
    from hpgreedy.client.verbs import simulate as verb

    verb.place(
        ctx.obj, file, algorithm, seed,
        seconds=seconds_, depth=depth, admission=admission, explain=explain,
    )  # fmt: skip


@simulate.command("run")
def simulate_run(  # noqa: PLR0917 - typer's parameters are given by name
    ctx: typer.Context,
    trace: Annotated[
        str | None,
        typer.Argument(
            metavar="[TRACE|-]",
            help="Requests as CSV (second, vcpu, memory_gib, lifetime_s), maybe gzipped; without it they are "
            "generated.",
        ),
    ] = None,
    hosts: Annotated[
        str | None, typer.Option(metavar="FILE", help="A cluster file: its hosts, with the VMs on them.")
    ] = None,
    host_count: Annotated[
        int | None,
        typer.Option(
            parser=whole("--host-count", 1, 100_000),
            metavar="N",
            help="That many equal hosts; else as many as hold 95 % of the trace's peak, or 100.",
        ),
    ] = None,
    host_size: Annotated[
        str, typer.Option(metavar="SIZE", help="Their size, memory in GiB.")
    ] = "cpu=64,memory=256",
    requests: Annotated[
        int,
        typer.Option(parser=whole("--requests", 1, 10_000_000), metavar="N", help="How many to generate."),
    ] = 20_000,
    limit: Annotated[
        int | None,
        typer.Option(
            parser=whole("--limit", 1, 2**53),
            metavar="N",
            help="Read only the first N requests of the trace.",
        ),
    ] = None,
    algorithms: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="The algorithms to compare; else all but packed.")
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="The VM that fragmentation is measured with; else a large one of the stream."
        ),
    ] = None,
    picture: Annotated[
        str | None, typer.Option(metavar="FILE", help="Draw the courses over time: a .png or .svg file.")
    ] = None,
    seed: Seed = 0,
    depth: Depth = 2,
    admission: Rule = "off",
) -> None:
    """Let requests come and go over time, and compare what several algorithms make of them."""
    from hpgreedy.client.verbs import simulate_run as verb

    verb.simulate_run(
        ctx.obj,
        verb.Wanted(
            trace=trace, hosts=hosts, host_count=host_count, host_size=host_size, requests=requests,
            limit=limit, algorithms=algorithms, shape=shape, seed=seed, picture=picture, depth=depth,
            admission=admission,
        ),
    )  # fmt: skip
