"""What the parts of a simulated host share."""

from __future__ import annotations

from collections.abc import Callable

from agent.drivers.simulated.images import SimImages
from agent.drivers.simulated.records import SimDomain
from agent.drivers.simulated.uri import SimulatedOptions
from agent.drivers.simulated.world import HostFolder, World
from agent.terms import Terms
from protocol.commands import CommandError


class SimHost:
    """This host within its world; `clock` gives seconds since the epoch, `sleep` waits."""

    def __init__(
        self,
        world: World,
        folder: HostFolder,
        images: SimImages,
        options: SimulatedOptions,
        *,
        terms: Terms,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self.world = world
        self.folder = folder
        self.images = images
        self.options = options
        self.terms = terms
        self.clock = clock
        self.sleep = sleep

    def check(self) -> None:
        """Raise CommandError("hypervisor_down") while the hypervisor is away."""
        if self.folder.down:
            raise CommandError(
                "hypervisor_down", f"the simulated hypervisor is away; remove {self.folder.path / 'down'}"
            )

    def domain(self, uuid: str) -> SimDomain:
        """The domain. Raises CommandError("not_found")."""
        found = self.folder.read(uuid)
        if found is None:
            raise CommandError("not_found", f"there is no domain {uuid} on this host")
        return found
