"""The fence of ports: this host's libvirt and migration ports take connections only from the source of an
open migration, until its deadline.

The kernel itself forgets an address when its time is over, also when the agent is dead. Loopback stays open.
"""

from __future__ import annotations

import contextlib
import ipaddress
import math
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Protocol

import msgspec
import structlog

from protocol.commands import CommandError
from protocol.transport.errors import TransportError
from protocol.transport.files import read_private, write_private

_LOG = structlog.get_logger("fence")
TABLE = "hpgreedy"
CONTROL_PORTS = (16509, 16514)
STREAM_PORTS = (49152, 49215)
LONGEST = 7 * 86400.0
_SECONDS = 10.0
# A migration's stream is taken once, so only new connections matter there; and the range is also one from
# which this host's own connections may come. libvirt's ports are closed to what is open already, too.
_RULES = """add table inet {table}
delete table inet {table}
table inet {table} {{
  set sources4 {{
    type ipv4_addr
    flags timeout
{four}  }}
  set sources6 {{
    type ipv6_addr
    flags timeout
{six}  }}
  chain incoming {{
    type filter hook input priority -5; policy accept;
    iif "lo" accept
    tcp dport {{ {control} }} ip saddr @sources4 accept
    tcp dport {{ {control} }} ip6 saddr @sources6 accept
    tcp dport {stream} ip saddr @sources4 accept
    tcp dport {stream} ip6 saddr @sources6 accept
    tcp dport {{ {control} }} counter reject with tcp reset
    tcp dport {stream} tcp flags syn / syn,ack counter reject with tcp reset
  }}
}}
"""


class Grant(msgspec.Struct, frozen=True):
    """The addresses that may connect for the migration of a VM, until that many seconds since the epoch."""

    vm: str
    addresses: tuple[str, ...]
    until: float


class Fence(Protocol):
    """Opens and closes this host for the sources of migrations; `state` is "on", or "off: " and why."""

    state: str

    def begin(self, arriving: Collection[str]) -> None:
        """Close all, save what was opened for the VMs that are arriving at this moment."""

    def open(self, vm: str, addresses: Iterable[str], seconds: float) -> None:
        """Let these addresses in for so long. Raises CommandError."""

    def close(self, vm: str) -> None:
        """End what was opened for that VM; fine when nothing was."""


class NoFence:
    """A host without a fence, and why."""

    def __init__(self, why: str) -> None:
        self.state = f"off: {why}"

    def begin(self, arriving: Collection[str]) -> None:
        """Say once that there is none."""
        _LOG.warning("libvirt's ports are open to every host", why=self.state.removeprefix("off: "))

    def open(self, vm: str, addresses: Iterable[str], seconds: float) -> None:
        """All are let in anyway."""

    def close(self, vm: str) -> None:
        """Nothing was opened."""


def rules(grants: Iterable[Grant], now: float) -> str:
    """The whole table as nft takes it, in place of the one before; pure."""
    left: dict[str, int] = {}
    for grant in grants:
        for address in grant.addresses:
            left[address] = max(left.get(address, 0), math.ceil(grant.until - now))
    parts = {4: [], 6: []}  # type: dict[int, list[str]]
    for address, seconds in sorted(left.items()):
        if seconds > 0:
            parts[ipaddress.ip_address(address).version].append(f"{address} timeout {seconds}s")
    return _RULES.format(
        table=TABLE,
        four=_elements(parts[4]),
        six=_elements(parts[6]),
        control=", ".join(map(str, CONTROL_PORTS)),
        stream="-".join(map(str, STREAM_PORTS)),
    )


def run_nft(script: str) -> str:
    """Give nft a script, all or nothing; returns what went wrong."""
    try:
        done = subprocess.run(
            ["nft", "-f", "-"], input=script, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"nft cannot be run: {error}"
    return "" if done.returncode == 0 else f"nft refused: {' '.join(done.stderr.split())[:300]}"


class NftFence:
    """The fence by nftables, in a table of its own. What is open is kept in `file` over a restart."""

    def __init__(
        self, file: Path, run: Callable[[str], str] = run_nft, now: Callable[[], float] = time.time
    ) -> None:
        self.state = "off: it has not been set up yet"
        self._file = file
        self._run = run
        self._now = now
        self._lock = threading.Lock()
        self._grants: dict[str, Grant] = {}

    def begin(self, arriving: Collection[str]) -> None:
        """Close all, save what was opened for the VMs that are arriving at this moment."""
        with self._lock:
            kept = {grant.vm: grant for grant in self._stored() if grant.vm in arriving}
            problem = self._apply(kept)
        if problem:
            _LOG.error("libvirt's ports are open to every host", problem=problem)

    def open(self, vm: str, addresses: Iterable[str], seconds: float) -> None:
        """Let these addresses in for so long, at most a week. Raises CommandError, having changed nothing."""
        until = self._now() + max(0.0, min(seconds, LONGEST))
        grant = Grant(vm, tuple(sorted({_checked(address) for address in addresses})), until)
        with self._lock:
            problem = self._apply({**self._grants, vm: grant})
        if problem:
            raise CommandError(
                "failed",
                f"this host's ports could not be opened for the host that VM {vm} comes from: {problem}; "
                "nothing was changed",
            )
        _LOG.info("ports opened", vm=vm, sources=list(grant.addresses), seconds=int(seconds))

    def close(self, vm: str) -> None:
        """End what was opened for that VM; fine when nothing was."""
        with self._lock:
            if vm not in self._grants:
                return
            problem = self._apply({name: grant for name, grant in self._grants.items() if name != vm})
        if problem:
            # The kernel closes them at the deadline.
            _LOG.error("ports stay open until the migration's deadline", vm=vm, problem=problem)
        else:
            _LOG.info("ports closed", vm=vm)

    def _apply(self, grants: dict[str, Grant]) -> str:
        now = self._now()
        wanted = {vm: grant for vm, grant in grants.items() if grant.until > now}
        try:
            write_private(self._file, msgspec.json.encode(list(wanted.values())))
        except TransportError as error:
            return str(error)
        problem = self._run(rules(wanted.values(), now))
        self.state = f"off: {problem}" if problem else "on"
        if not problem:
            self._grants = wanted
        return problem

    def _stored(self) -> list[Grant]:
        with contextlib.suppress(FileNotFoundError, TransportError, msgspec.MsgspecError, UnicodeDecodeError):
            return msgspec.json.decode(read_private(self._file), type=list[Grant])
        return []


def make_fence(wanted: str, file: Path, *, simulated: bool) -> Fence:
    """The fence of this host as it was asked for (auto or off)."""
    if simulated:
        return NoFence("a simulated host has no ports")
    if wanted == "off":
        return NoFence("the agent was started with --fence off")
    if os.geteuid() != 0:
        return NoFence("the agent does not run as root, which nftables needs")
    if shutil.which("nft") is None:
        return NoFence("nft is not installed: type `apt install nftables` and restart the agent")
    return NftFence(file)


def _checked(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError as error:
        raise CommandError(
            "bad_arguments",
            f"source_addresses has {address[:60]!r}, which is no IP address; nothing was done",
        ) from error


def _elements(items: list[str]) -> str:
    return f"    elements = {{ {', '.join(items)} }}\n" if items else ""
