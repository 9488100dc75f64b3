"""A hypervisor made of files: agents that share a world folder migrate VMs to one another.

Nothing runs. A domain is a JSON file in its host's folder, a migration is a job file that is due after a
short real time and then one rename, so it outlives the agents like a real one.
"""

from agent.drivers.simulated.driver import SimulatedDriver

__all__ = ["SimulatedDriver"]
