"""Keeps this host's certificate: asks the coordinator for one, installs it, renews it in time."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from agent import pki
from agent.errors import AgentError
from agent.threads import in_thread
from protocol.messages import CertificateIssued, CertificateRequest, Message, Refused

_LOG = structlog.get_logger("encryption")
RELOADS = (
    ("virt-admin", "-c", "libvirtd:///system", "server-update-tls", "libvirtd"),
    ("virt-admin", "-c", "virtproxyd:///system", "server-update-tls", "virtproxyd"),
)
_RELOAD_SECONDS = 20.0
Ask = Callable[[Message], Awaitable[Message | None]]


def reload_libvirtd() -> str:
    """Have libvirtd read its certificates anew (QEMU does at each migration); returns what went wrong."""
    problem = "virt-admin is not installed: type `apt install libvirt-clients`"
    for command in RELOADS:
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_RELOAD_SECONDS, check=False
            )
        except FileNotFoundError:
            return problem
        except subprocess.SubprocessError as error:
            problem = str(error)
            continue
        if done.returncode == 0:
            return ""
        problem = problem if "virtproxyd" in command[2] else done.stderr.strip().replace("\n", " ")
    return problem


class Encryption:
    """The certificate of a host whose libvirt is reached over TLS; `state` is what the host says of it."""

    def __init__(
        self,
        folder: Path,
        address: str,
        ask: Ask,
        reload: Callable[[], str] = reload_libvirtd,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.state = "off: the coordinator has not given this host a certificate yet"
        self._folder = folder
        self._address = address
        self._ask = ask
        self._reload = reload
        self._now = now

    async def keep(self, authority: str) -> None:
        """Have a certificate of the authority with this fingerprint, with more than a third of its life left.

        What goes wrong is logged and shown; the next call tries again.
        """
        before = self.state
        try:
            self.state = await self._kept(authority)
        except AgentError as error:
            self.state = f"off: {error}"
        if self.state != before:
            log = _LOG.info if self.state == "on" else _LOG.warning
            log("encryption between hosts", state=self.state)

    async def _kept(self, authority: str) -> str:
        here = await in_thread(lambda: pki.look(self._folder), "pki-look")
        if here.foreign:
            return (
                f"on: with certificates in {self._folder} that are not HP Greedy's; they are left alone, and "
                "renewing them is yours"
            )
        if not authority:
            raise AgentError("this coordinator issues no certificates; update it")
        if self._fits(here, authority):
            return "on"
        request = await in_thread(lambda: pki.request(self._folder), "pki-request")
        answer = await self._ask(CertificateRequest(request=request))
        if isinstance(answer, Refused):
            raise AgentError(answer.reason)
        if not isinstance(answer, CertificateIssued):
            raise AgentError(
                "the coordinator did not answer the request for a certificate; it is asked again"
            )
        await in_thread(
            lambda: pki.install(self._folder, answer.certificate, answer.authority), "pki-install"
        )
        problem = await in_thread(self._reload, "pki-reload")
        if problem:
            raise AgentError(f"libvirtd does not take its new certificate: {problem}; restart libvirtd")
        return "on"

    def _fits(self, here: pki.Here, authority: str) -> bool:
        found = here.certificate
        return (
            found is not None
            and not here.problem
            and here.authority == authority
            and not found.due(self._now())
            and self._address in found.names
        )
