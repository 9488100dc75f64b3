"""The addresses from which this host's own connections may come."""

from __future__ import annotations

import ipaddress
import socket

MOST = 64


def own_addresses(address: str) -> tuple[str, ...]:
    """`address` first where it is an IP address, then those of the network cards; without loopback and
    addresses that are good on one link alone.
    """
    try:
        import psutil  # noqa: PLC0415 - a simulated host does without
    except ImportError:
        return usable([address])
    cards = psutil.net_if_addrs().values()
    return usable(
        [
            address,
            *(
                one.address
                for card in cards
                for one in card
                if one.family in (socket.AF_INET, socket.AF_INET6)
            ),
        ]
    )


def usable(found: list[str]) -> tuple[str, ...]:
    """Those that other hosts can see, each once; pure."""
    kept: dict[str, None] = {}
    for text in found:
        try:
            address = ipaddress.ip_address(text.split("%", 1)[0])
        except ValueError:
            continue
        if not (address.is_loopback or address.is_link_local or address.is_unspecified):
            kept[str(address)] = None
    return tuple(kept)[:MOST]
