"""The verbs as a person types them: names, options, help. What they do is imported when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hpgreedy.client.arguments import COMMON_OPTIONS, Line
from hpgreedy.client.errors import DONE
from hpgreedy.client.screen import Screen
from hpgreedy.client.simulate_app import SETTINGS, simulate
from hpgreedy.client.usage import USAGE_ERRORS, explain_usage, seconds, whole

_EPILOG = (
    "Every verb also takes: " + "; ".join(f"{name}: {text}" for name, text in COMMON_OPTIONS.items()) + "."
)
app = typer.Typer(
    help="Ask the coordinator of an HP Greedy cluster. The coordinator's address stands before the verb; "
    "without a verb the prompt opens.",
    epilog=_EPILOG,
    **SETTINGS,
)
vm = typer.Typer(help="Virtual machines.", **SETTINGS)
host = typer.Typer(help="Hosts.", **SETTINGS)
op = typer.Typer(help="Operations: what is in flight and what has ended.", **SETTINGS)
image = typer.Typer(help="Images that VMs boot from.", **SETTINGS)
token = typer.Typer(help="Join tokens for hosts and clients.", **SETTINGS)
algorithm = typer.Typer(help="Placement algorithms.", **SETTINGS)
_GROUPS = {
    "vm": vm, "host": host, "op": op, "image": image, "token": token, "algorithm": algorithm,
    "simulate": simulate,
}  # fmt: skip
for _name, _group in _GROUPS.items():
    app.add_typer(_group, name=_name)

VmId = Annotated[str, typer.Argument(metavar="ID", help="The VM's id.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the operation has ended.")]
Timeout = Annotated[
    float | None,
    typer.Option(
        parser=seconds("--timeout", 0),
        metavar="SECONDS",
        help="Wait at most so long; the operation goes on by itself.",
    ),
]
Grace = Annotated[
    float,
    typer.Option(
        parser=seconds("--grace", 1, 3600),
        metavar="SECONDS",
        help="How long the guest may take to shut down.",
    ),
]


@app.command()
def submit(
    ctx: typer.Context,
    *,
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="A cluster file; - is standard input.")],
    algorithm: Annotated[
        str | None, typer.Option(metavar="NAME", help="Place with this algorithm; see algorithm list.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show places and live migrations; change nothing.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say of each host why it was chosen or not.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until all VMs run.")] = False,
    timeout: Timeout = None,
) -> None:
    """Create the VMs of a cluster file; all are accepted or none."""
    from hpgreedy.client.verbs import submit as verb

    verb.submit(
        ctx.obj, file, algorithm=algorithm, explain=explain, dry_run=dry_run, wait=wait, timeout=timeout
    )


@app.command()
def flush(ctx: typer.Context, wait: Wait = True, timeout: Timeout = None) -> None:
    """Empty the queue of delayed: place the VMs that wait by first fit, the oldest first."""
    from hpgreedy.client.verbs import queue

    queue.flush(ctx.obj, wait, timeout)


@app.command()
def status(ctx: typer.Context) -> None:
    """Show the cluster at a glance: hosts, VMs, capacity, open operations, problems."""
    from hpgreedy.client.verbs import views

    views.status(ctx.obj)


@app.command()
def export(
    ctx: typer.Context,
    file: Annotated[
        str, typer.Argument(metavar="[FILE]", help="Where to write it; - is standard output.")
    ] = "-",
) -> None:
    """Write the live cluster as a cluster file, which simulate reads."""
    from hpgreedy.client.verbs import export as verb

    verb.export(ctx.obj, file)


@app.command()
def join(
    ctx: typer.Context,
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="A token of token create.")],
) -> None:
    """Join the cluster with a token; this client's own key is kept for later."""
    from hpgreedy.client.verbs import joining

    joining.join(ctx.obj, token)


@vm.command("list")
def vm_list(ctx: typer.Context) -> None:
    """List all VMs."""
    from hpgreedy.client.verbs import views

    views.vm_list(ctx.obj)


@vm.command("show")
def vm_show(ctx: typer.Context, vm: VmId) -> None:
    """Show one VM, and why it is where it is."""
    from hpgreedy.client.verbs import views

    views.vm_show(ctx.obj, vm)


@vm.command("delete")
def vm_delete(
    ctx: typer.Context,
    *,
    vm: VmId,
    force: Annotated[bool, typer.Option("--force", help="Do not wait for the guest.")] = False,
    grace: Grace = 60.0,
    wait: Wait = True,
    timeout: Timeout = None,
) -> None:
    """Shut a VM down and delete it with its disks."""
    from hpgreedy.client.verbs import vms

    vms.delete(ctx.obj, vm, force=force, grace=grace, wait=wait, timeout=timeout)


@vm.command("start")
def vm_start(ctx: typer.Context, vm: VmId, wait: Wait = True, timeout: Timeout = None) -> None:
    """Start a stopped VM."""
    from hpgreedy.client.verbs import vms

    vms.start(ctx.obj, vm, wait, timeout)


@vm.command("stop")
def vm_stop(
    ctx: typer.Context,
    *,
    vm: VmId,
    force: Annotated[bool, typer.Option("--force", help="Switch it off when it takes too long.")] = False,
    grace: Grace = 60.0,
    wait: Wait = True,
    timeout: Timeout = None,
) -> None:
    """Shut a VM down and keep it."""
    from hpgreedy.client.verbs import vms

    vms.stop(ctx.obj, vm, force=force, grace=grace, wait=wait, timeout=timeout)


@vm.command("migrate")
def vm_migrate(
    ctx: typer.Context,
    *,
    vm: VmId,
    to: Annotated[
        str | None, typer.Option("--to", metavar="HOST", help="Default: the placer chooses.")
    ] = None,
    bandwidth: Annotated[
        int,
        typer.Option(
            parser=whole("--bandwidth", 0, 1_000_000),
            metavar="MIB",
            help="At most so many MiB a second; 0 = no limit.",
        ),
    ] = 0,
    wait: Wait = True,
    timeout: Timeout = None,
) -> None:
    """Move a VM to another host while it runs."""
    from hpgreedy.client.verbs import vms

    vms.migrate(ctx.obj, vm, to=to, bandwidth=bandwidth, wait=wait, timeout=timeout)


@vm.command("adopt")
def vm_adopt(
    ctx: typer.Context,
    host: Annotated[str, typer.Argument(metavar="HOST", help="The host it is on.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name there.")],
    wait: Wait = True,
    timeout: Timeout = None,
) -> None:
    """Take a VM that was there before into the cluster's care."""
    from hpgreedy.client.verbs import vms

    vms.adopt(ctx.obj, host, name, wait, timeout)


@vm.command("console-log")
def vm_console_log(
    ctx: typer.Context,
    vm: VmId,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what is added.")] = False,
    lines: Annotated[
        int, typer.Option(parser=whole("--lines", 1, 100_000), metavar="N", help="Only the last lines.")
    ] = 100,
) -> None:
    """Show the end of a VM's serial console."""
    from hpgreedy.client.verbs import vms

    vms.console_log(ctx.obj, vm, lines, follow)


@host.command("list")
def host_list(ctx: typer.Context) -> None:
    """List all hosts and how full they are."""
    from hpgreedy.client.verbs import views

    views.host_list(ctx.obj)


@host.command("show")
def host_show(
    ctx: typer.Context, host: Annotated[str, typer.Argument(metavar="NAME", help="The host's name.")]
) -> None:
    """Show one host."""
    from hpgreedy.client.verbs import views

    views.host_show(ctx.obj, host)


@op.command("list")
def op_list(
    ctx: typer.Context,
    open_only: Annotated[bool, typer.Option("--open", help="Only those that have not ended.")] = False,
    limit: Annotated[
        int, typer.Option(parser=whole("--limit", 1, 10_000), metavar="N", help="At most so many.")
    ] = 100,
) -> None:
    """List operations, the newest first."""
    from hpgreedy.client.verbs import views

    views.op_list(ctx.obj, open_only, limit)


OpNumber = Annotated[
    int, typer.Argument(parser=whole("N", 1, 2**53), metavar="N", help="The operation's number.")
]


@op.command("show")
def op_show(ctx: typer.Context, number: OpNumber) -> None:
    """Show one operation with its history."""
    from hpgreedy.client.verbs import views

    views.op_show(ctx.obj, number)


@op.command("watch")
def op_watch(ctx: typer.Context, number: OpNumber, timeout: Timeout = None) -> None:
    """Follow an operation to its end; exits 1 when it fails."""
    from hpgreedy.client.verbs import views

    views.op_watch(ctx.obj, number, timeout)


@op.command("cancel")
def op_cancel(ctx: typer.Context, number: OpNumber, wait: Wait = True, timeout: Timeout = None) -> None:
    """Cancel an operation where that is safe; exits 1 when it ended otherwise."""
    from hpgreedy.client.verbs import views

    views.op_cancel(ctx.obj, number, wait, timeout)


@op.command("retry")
def op_retry(ctx: typer.Context, number: OpNumber, wait: Wait = True, timeout: Timeout = None) -> None:
    """Ask again for what an operation that failed or was cancelled did not bring about."""
    from hpgreedy.client.verbs import views

    views.op_retry(ctx.obj, number, wait, timeout)


@image.command("add")
def image_add(
    ctx: typer.Context,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Under which VMs name it.")],
    disk: Annotated[Path | None, typer.Option(metavar="FILE", help="The first disk.")] = None,
    kernel: Annotated[Path | None, typer.Option(metavar="FILE", help="A kernel to boot directly.")] = None,
    initrd: Annotated[Path | None, typer.Option(metavar="FILE", help="The kernel's initrd.")] = None,
    cmdline: Annotated[str, typer.Option(metavar="TEXT", help="The kernel's command line.")] = "",
    format: Annotated[  # noqa: A002 - the option's name
        str | None, typer.Option(metavar="qcow2|raw", help="How the disk is written; default: as it looks.")
    ] = None,
) -> None:
    """Make an image out of files; run again after an interruption it goes on where it stopped."""
    from hpgreedy.client.verbs import images

    images.add(ctx.obj, name, disk=disk, kernel=kernel, initrd=initrd, cmdline=cmdline, kind=format)


@image.command("list")
def image_list(ctx: typer.Context) -> None:
    """List all images."""
    from hpgreedy.client.verbs import views

    views.image_list(ctx.obj)


@image.command("delete")
def image_delete(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The image's name.")],
    wait: Wait = True,
    timeout: Timeout = None,
) -> None:
    """Delete an image from the coordinator and all hosts."""
    from hpgreedy.client.verbs import images

    images.delete(ctx.obj, name, wait, timeout)


@token.command("create")
def token_create(
    ctx: typer.Context,
    role: Annotated[str, typer.Option(metavar="ROLE", help="agent, admin, operator, user or viewer.")],
    name: Annotated[str, typer.Option(metavar="NAME", help="The name the joiner gets.")] = "",
    ttl: Annotated[
        float, typer.Option(parser=seconds("--ttl", 1), metavar="SECONDS", help="How long it is good.")
    ] = 3600.0,
) -> None:
    """Make a token with which one host or client can join."""
    from hpgreedy.client.verbs import joining

    joining.create(ctx.obj, role, name, ttl)


@algorithm.command("list")
def algorithm_list(ctx: typer.Context) -> None:
    """List the placement algorithms."""
    from hpgreedy.client.verbs import views

    views.algorithm_list(ctx.obj)


VERBS = ("submit", "flush", "status", "export", "join", *_GROUPS)


def run(line: Line, screen: Screen) -> int:
    """Run a verb and return the exit code. Raises ClientError."""
    from hpgreedy.client.session import Session

    with Session(line.common, line.address, screen) as session:
        command = typer.main.get_command(app)
        try:
            code = command.main(
                list(line.words), prog_name="run_client.py ADDRESS", standalone_mode=False, obj=session
            )
        except USAGE_ERRORS as error:
            raise explain_usage(error) from error
        except SystemExit as error:
            # The only exit of its own that the parser takes here is for a reader that went away.
            raise BrokenPipeError from error
    return code if isinstance(code, int) else DONE
