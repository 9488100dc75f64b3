"""From settings to a running agent, and from its end to an exit code."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
from pathlib import Path

import msgspec
import structlog

from agent.capacity import Machine
from agent.drivers import make_driver
from agent.drivers.simulated.uri import is_simulated
from agent.errors import AgentError
from agent.hypervisor import FIRST_RETRY, LONGEST_RETRY, Hypervisor
from agent.joining import access_for
from agent.journal import Journal, JournalError
from agent.options import own_name
from agent.service import AgentService
from agent.settings import AgentSettings
from protocol.commands import CommandError
from protocol.transport.errors import TransportError
from protocol.transport.files import make_private_folder

_LOG = structlog.get_logger("agent")


def hold_state(state: Path) -> int:
    """Make the state folder and lock it for this process's life; returns the descriptor that holds it.

    Raises AgentError when another agent holds it or it cannot be made.
    """
    try:
        make_private_folder(state)
        descriptor = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise AgentError(
            f"the state folder {state} cannot be used: {error.strerror}; name another with --state", 2
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise AgentError(
            f"another agent uses the state folder {state}; stop it, or give this one its own with --state"
        ) from error
    return descriptor


def this_machine(hypervisor: str) -> Machine | None:
    """What the operating system says there is; None for a simulated host. Raises AgentError."""
    if is_simulated(hypervisor):
        return None
    try:
        import psutil  # noqa: PLC0415 - a simulated host does without
    except ImportError as error:
        raise AgentError("psutil is not installed: type `pip install 'hpgreedy[agent]'`", 2) from error
    return Machine(
        cpus=psutil.cpu_count() or 1,
        memory_mib=psutil.virtual_memory().total // (1024 * 1024),
    )


async def serve(settings: AgentSettings) -> None:
    """Run an agent until SIGTERM or SIGINT. Raises AgentError, whose exit code is the program's."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    descriptor = hold_state(settings.state)
    try:
        await _until_stopped(_start_and_serve(settings, stop), stop)
    except (TransportError, JournalError) as error:
        raise AgentError(str(error)) from error
    finally:
        os.close(descriptor)


async def _until_stopped(work: asyncio._CoroutineLike[None], stop: asyncio.Event) -> None:
    """A stop during the start ends it at once; later the service itself sees to it."""
    serving: asyncio.Task[None] = asyncio.ensure_future(work)  # type: ignore[arg-type]
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        await asyncio.wait([serving], timeout=5)
        serving.cancel()
    stopping.cancel()
    try:
        await serving
    except asyncio.CancelledError:
        if not stop.is_set():
            raise


async def _start_and_serve(settings: AgentSettings, stop: asyncio.Event) -> None:
    journal = Journal(settings.state / "journal.db")
    machine = this_machine(settings.driver.hypervisor)
    hypervisor = Hypervisor(make_driver(settings.driver))
    await _first_connection(hypervisor, settings)
    wanted = settings.name or own_name()
    access = await access_for(
        settings.state,
        settings.state_root,
        settings.coordinator,
        settings.port,
        name=wanted,
        token=settings.join,
    )
    if not access.name:
        access = msgspec.structs.replace(access, name=wanted)
    service = AgentService(settings, access, hypervisor, journal, machine=machine)
    _LOG.info("agent started", state=str(settings.state), hypervisor=settings.driver.hypervisor)
    await service.run(stop)
    _LOG.info("agent stopped; its VMs go on")


async def _first_connection(hypervisor: Hypervisor, settings: AgentSettings) -> None:
    """Fail early, before joining, when the hypervisor is not there; or wait for it."""
    wait = FIRST_RETRY
    while True:
        try:
            await hypervisor.connect()
        except CommandError as error:
            if error.code == "bad_arguments":
                raise AgentError(error.message, 2) from error
            if not settings.wait_hypervisor:
                raise AgentError(
                    f"the hypervisor {settings.driver.hypervisor} cannot be used: {error.message}", 2
                ) from error
            _LOG.warning("waiting for the hypervisor", problem=error.message, next_try_seconds=wait)
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_RETRY)
        else:
            return
