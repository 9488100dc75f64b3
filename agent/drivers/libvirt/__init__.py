"""The libvirt driver. Only this package imports libvirt, and only once `LibvirtDriver` is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.drivers.libvirt.driver import LibvirtDriver

__all__ = ["LibvirtDriver"]


def __getattr__(name: str) -> Any:
    # Lazy, so that the pure modules beside it work where libvirt is not installed.
    if name == "LibvirtDriver":
        from agent.drivers.libvirt.driver import LibvirtDriver  # noqa: PLC0415

        return LibvirtDriver
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
