"""The cluster's own certificate authority: it vouches for hosts to each other's libvirt and QEMU."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from hpgreedy.operations.records import HostRecord
from hpgreedy.operations.world import World
from protocol.certificates import AUTHORITY_DAYS, CertificateError, Pair, facts_of, issue, make_authority
from protocol.messages import CertificateIssued, CertificateRequest, Refused
from protocol.transport.errors import TransportError
from protocol.transport.files import read_private, write_private

_LOG = structlog.get_logger("authority")
_SERIAL_BYTES = 16


class Authority:
    """The authority's key and certificate, and what it signs; `now` gives seconds since the epoch."""

    def __init__(self, pair: Pair, now: Callable[[], float] = time.time) -> None:
        self._pair = pair
        self._now = now
        self.fingerprint = facts_of(pair.certificate).fingerprint

    @classmethod
    def load_or_create(cls, folder: Path, name: str, now: Callable[[], float] = time.time) -> Authority:
        """The authority kept in `folder` (``ca.pem``, mode 0600), made there when there is none.

        Raises TransportError when the file may be read by others or is damaged.
        """
        path = folder / "ca.pem"
        try:
            return cls(_split(read_private(path), path), now)
        except FileNotFoundError:
            pair = make_authority(name, now=now(), serial=_serial(), days=AUTHORITY_DAYS)
            write_private(path, pair.key + pair.certificate, replace=False)
            _LOG.info("certificate authority made", file=str(path))
            return cls(_split(read_private(path), path), now)

    def answer(
        self, world: World, host: HostRecord, asked: CertificateRequest
    ) -> CertificateIssued | Refused:
        """A certificate for the host that asked: for its own name and address, whatever it asks for."""
        address = host.hello.address
        own = {host.name.lower(), address.lower()}
        same = [
            name
            for name, other in world.hosts.items()
            if name != host.name and not own.isdisjoint((name.lower(), other.hello.address.lower()))
        ]
        if same:
            reason = (
                f"{host.name} at {address} has the name or address of host {same[0]}; a certificate for it "
                "would let one pass for the other: start one of the agents with another --address or --name"
            )
            return Refused(code="certificate", reason=reason)
        serial = _serial()
        try:
            certificate = issue(
                self._pair,
                asked.request,
                name=host.name,
                addresses=(address,),
                now=self._now(),
                serial=serial,
            )
        except (CertificateError, ValueError) as error:
            return Refused(code="certificate", reason=f"{host.name} gets no certificate: {error}")
        ends = facts_of(certificate).ends
        _LOG.info("certificate issued", host=host.name, address=address, serial=f"{serial:x}", ends=int(ends))
        return CertificateIssued(certificate=certificate, authority=self._pair.certificate)


def _split(data: bytes, path: Path) -> Pair:
    key, mark, certificate = data.partition(b"-----BEGIN CERTIFICATE-----")
    pair = Pair(key=key, certificate=mark + certificate)
    try:
        facts_of(pair.certificate)
    except CertificateError as error:
        raise TransportError(
            f"{path} is damaged: {error}; restore it from a backup, or remove it and restart the agents to "
            "have a new authority and new certificates"
        ) from error
    return pair


def _serial() -> int:
    # A positive number of at most 20 bytes, as RFC 5280 has it.
    return int.from_bytes(secrets.token_bytes(_SERIAL_BYTES), "big") | 1
