"""Hypervisor drivers behind the agent's ports."""

from __future__ import annotations

from agent.drivers.simulated.uri import is_simulated
from agent.errors import AgentError
from agent.ports import Driver, DriverSettings
from protocol.commands import CommandError

NO_LIBVIRT = (
    "libvirt-python is not installed, so {uri} cannot be used: type `apt install python3-libvirt` (and start "
    "with the system's Python) or `pip install 'hpgreedy[agent,libvirt]'`, or use --hypervisor simulated"
)


def make_driver(settings: DriverSettings) -> Driver:
    """The driver for a hypervisor URI, not connected yet; only a libvirt URI imports libvirt.

    Raises AgentError (exit code 2).
    """
    try:
        if is_simulated(settings.hypervisor):
            from agent.drivers.simulated import SimulatedDriver  # noqa: PLC0415

            return SimulatedDriver(settings)
        from agent.drivers.libvirt import LibvirtDriver  # noqa: PLC0415

        return LibvirtDriver(settings)
    except CommandError as error:
        raise AgentError(error.message, 2) from error
    except ImportError as error:
        if error.name in ("libvirt", "libvirt_qemu", "libvirtmod"):
            raise AgentError(NO_LIBVIRT.format(uri=settings.hypervisor), 2) from error
        raise AgentError(
            f"{settings.hypervisor} needs the Python module {error.name}: "
            "type `pip install 'hpgreedy[agent,libvirt]'`",
            2,
        ) from error
