"""The command line `python -m lab`."""

import argparse
import json
import os
import signal
import sys
import time
from types import FrameType
from typing import Any, NoReturn

from lab import guest, lifecycle
from lab.api import Lab
from lab.errors import LabError, UsageError
from lab.names import check_lab_name
from lab.state import lab_names


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see `{self.prog} --help`)")


def main(arguments: list[str]) -> int:
    """Run one command; return its exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end_politely)
    try:
        options = _parser().parse_args(arguments)
        code: int = options.run(options)
    except UsageError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 2
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone, as in `status | head -1`; the work itself was done before.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _end_politely(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _parser() -> _Parser:
    parser = _Parser(prog="python -m lab", description="Several real libvirt hosts on one Linux machine.")
    verbs = parser.add_subparsers(dest="verb", required=True, parser_class=_Parser)
    up = _verb(verbs, "up", _up, "make a lab, or find it running")
    up.add_argument("--hosts", type=int, default=3, help="how many hosts, h1 to hN (3)")
    up.add_argument("--storage", default="shared", help="one pool for all hosts (shared) or one each (local)")
    down = _verb(verbs, "down", _down, "take a lab away with everything in it")
    down.add_argument("--all", action="store_true", help="take away every lab")
    status = _verb(verbs, "status", _status, "show a lab")
    status.add_argument("--json", action="store_true", help="print JSON")
    inside = _verb(verbs, "exec", _exec, "run a command inside a host")
    inside.add_argument("host")
    inside.add_argument("command", nargs=argparse.REMAINDER)
    verbs.add_parser("guest", help="build the test guest, print its paths").set_defaults(run=_guest)
    for name, run, text in (
        ("kill-libvirtd", _kill_libvirtd, "kill a host's libvirtd; it stays dead"),
        ("start-libvirtd", _start_libvirtd, "start a host's libvirtd"),
        ("cut", _cut, "pull a host's network cable"),
        ("mend", _mend, "plug it in again"),
    ):
        _verb(verbs, name, run, text).add_argument("host")
    limit = _verb(verbs, "limit", _limit, "limit a host's network speed")
    limit.add_argument("host")
    limit.add_argument("mbit", help="megabits per second, or none")
    return parser


def _verb(verbs: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=text)
    parser.add_argument("--name", default="hpg", help="the lab's name (hpg)")
    parser.set_defaults(run=run)
    return parser


def _up(options: argparse.Namespace) -> int:
    begun = time.monotonic()
    ran_before = lifecycle.is_running(check_lab_name(options.name))
    try:
        lab, changed = Lab.up_or_find(options.name, options.hosts, options.storage)
    except (KeyboardInterrupt, SystemExit):
        # Making cleans up after itself; this is for an interruption in the last moment, when all was made.
        if not ran_before:
            lifecycle.take_down(options.name)
            print(f"lab: {options.name!r} was being made and has been taken away again", file=sys.stderr)
        raise
    seconds = time.monotonic() - begun
    done = f"is up after {seconds:.1f} s" if changed else "is already running"
    print(f"lab {lab.name} {done}: {len(lab.hosts)} hosts, {lab.subnet}, {lab.storage} storage")
    for host in lab.hosts:
        print(f"  {host.name}  {host.libvirt_uri}")
    return 0


def _down(options: argparse.Namespace) -> int:
    names = lab_names() if options.all else [check_lab_name(options.name)]
    failures = []
    for name in names:
        try:
            existed = lifecycle.take_down(name)
            print(f"lab {name} is down" if existed else f"there is no lab {name}")
        except LabError as error:
            failures.append(str(error))
    if failures:
        raise LabError("; ".join(failures))
    return 0


def _describe(lab: Lab) -> dict[str, Any]:
    hosts = [
        {
            "name": host.name,
            "address": host.address,
            "uuid": host.host_uuid,
            "uri": host.libvirt_uri,
            "alive": host.alive(),
            "libvirtd": host.libvirtd_alive(),
        }
        for host in lab.hosts
    ]
    programs = {
        name: any(process.alive() for process in processes) for name, processes in lab.programs().items()
    }
    healthy = lab.state.ready and all(host["alive"] and host["libvirtd"] for host in hosts)
    return {
        "name": lab.name,
        "healthy": healthy,
        "subnet": lab.subnet,
        "gateway": lab.gateway,
        "bridge": lab.bridge,
        "storage": lab.storage,
        "hosts": hosts,
        "programs": programs,
    }


def _status(options: argparse.Namespace) -> int:
    lab = Lab.load(options.name)
    picture = _describe(lab)
    if options.json:
        print(json.dumps(picture, indent=1))
        return 0
    health = "healthy" if picture["healthy"] else "NOT healthy (`up` repairs it)"
    print(f"lab {lab.name}: {health}, {lab.subnet}, gateway {lab.gateway}, {lab.storage} storage")
    for host in picture["hosts"]:
        libvirtd = "libvirtd runs" if host["libvirtd"] else "libvirtd is dead"
        print(f"  {host['name']}  {host['uri']}  {libvirtd if host['alive'] else 'the host is dead'}")
    for name, alive in picture["programs"].items():
        print(f"  {name}  {'runs' if alive else 'has ended'}")
    return 0


def _exec(options: argparse.Namespace) -> int:
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise UsageError("command: nothing to run; give it after the host, as in `exec h1 virsh list`")
    line = Lab.load(options.name).host(options.host).enter(command)
    sys.stdout.flush()
    # Becoming the launcher, rather than waiting for it, keeps signals and the exit code exact.
    os.execv(line[0], line)  # noqa: S606 - no shell is wanted


def _guest(_options: argparse.Namespace) -> int:
    print(guest.build().as_json())
    return 0


def _kill_libvirtd(options: argparse.Namespace) -> int:
    Lab.load(options.name).kill_libvirtd(options.host)
    return 0


def _start_libvirtd(options: argparse.Namespace) -> int:
    Lab.load(options.name).start_libvirtd(options.host)
    return 0


def _cut(options: argparse.Namespace) -> int:
    Lab.load(options.name).cut(options.host)
    return 0


def _mend(options: argparse.Namespace) -> int:
    Lab.load(options.name).mend(options.host)
    return 0


def _limit(options: argparse.Namespace) -> int:
    try:
        mbit = None if options.mbit == "none" else float(options.mbit)
    except ValueError:
        raise UsageError(f"mbit: {options.mbit!r} is no number; give megabits per second, or none") from None
    Lab.load(options.name).limit(options.host, mbit)
    return 0
