"""Addresses of this machine."""

from __future__ import annotations

import socket

from protocol.transport.errors import TransportError


def local_address_towards(address: str, port: int) -> str:
    """The address of ours from which packets to `address` leave; nothing is sent.

    Raises TransportError when the name cannot be resolved or there is no route.
    """
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            address.strip("[]"), port or 1, type=socket.SOCK_DGRAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(place)
            return str(probe.getsockname()[0])
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise TransportError(
            f"{address} cannot be reached: {reason}; give the coordinator's IP address or its name"
        ) from error


def is_local(address: str) -> bool:
    """Whether an address is one of this machine's own."""
    try:
        resolved = socket.getaddrinfo(address.strip("[]"), 1, type=socket.SOCK_DGRAM)[0][4][0]
        return str(resolved) == local_address_towards(address, 1)
    except (TransportError, OSError, UnicodeError):
        return False
