"""The options of an agent: defaults, then the file, then the command line."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from typing import Any

from agent.ports import DriverSettings
from agent.settings import AgentSettings
from protocol.options import Option, OptionError, OptionTable, Parser, values
from protocol.transport.access import default_state_root
from protocol.transport.addresses import local_address_towards
from protocol.transport.errors import TransportError

TABLE = OptionTable(
    "agent",
    {
        "join": Option(
            parse=values.join_token, metavar="TOKEN", help="join token; needed once, and not on the head node"
        ),
        "name": Option(
            parse=values.name_of, metavar="NAME", help="this host's name (default: the host name)"
        ),
        "state": Option(
            parse=values.folder,
            metavar="DIR",
            help="folder for keys and journal (default: <state root>/agent)",
        ),
        "state-root": Option(
            parse=values.folder,
            metavar="DIR",
            help="where the head node's coordinator leaves its local key (default: HPGREEDY_STATE, "
            "/var/lib/hpgreedy for root, else ~/.local/state/hpgreedy)",
        ),
        "hypervisor": Option(
            parse=values.hypervisor_uri,
            default="qemu:///system",
            metavar="URI",
            help="libvirt URI, or simulated[:///DIR][?cpus=8&memory=64&speed=100&storage=shared&numa=2&"
            "cpu-models=Conroe,Nehalem]",
        ),
        "address": Option(
            parse=values.address,
            metavar="ADDRESS",
            help="where other hosts reach this one (default: the address used to reach the coordinator)",
        ),
        "reserve-memory": Option(
            parse=values.gib, default=1.0, metavar="GIB", help="memory kept for the host itself"
        ),
        "reserve-cpu": Option(
            parse=values.whole(0, 4096), default=0, metavar="N", help="CPUs kept for the host itself"
        ),
        "cpu-overcommit": Option(
            parse=values.number(0.1, 1000), default=1.0, metavar="FACTOR", help="vCPUs given out for each CPU"
        ),
        "memory-overcommit": Option(
            parse=values.number(0.1, 1000),
            default=1.0,
            metavar="FACTOR",
            help="memory given out for each GiB",
        ),
        "label": Option(
            repeated=True,
            parse=values.pairs,
            default={},
            metavar="K=V",
            help="a label of this host; may be repeated",
        ),
        "resource": Option(
            repeated=True,
            parse=values.counts,
            default={},
            metavar="K=N",
            help="a countable resource of this host; may be repeated",
        ),
        "pool": Option(parse=values.name_of, default="hpgreedy", metavar="NAME", help="libvirt storage pool"),
        "pool-path": Option(
            parse=values.folder, default="/var/lib/hpgreedy/pool", metavar="DIR", help="folder of that pool"
        ),
        "bridge": Option(
            parse=values.bridge_name,
            metavar="NAME",
            help="bridge of network cards that name none (default: none)",
        ),
        "network": Option(
            parse=values.name_of,
            metavar="NAME",
            help="libvirt network of network cards that name none (default: the hypervisor's own default)",
        ),
        "migration-transport": Option(
            parse=values.choice("tls", "ssh", "tcp"),
            default="tls",
            metavar="tls|ssh|tcp",
            help="how libvirt reaches other hosts; with ssh the memory of a moving VM is not encrypted, with "
            "tcp nothing is",
        ),
        "fence": Option(
            parse=values.choice("auto", "off"),
            default="auto",
            metavar="auto|off",
            help="auto = only the source of an open migration reaches libvirt's ports (nftables, as root)",
        ),
        "accelerator": Option(
            parse=values.choice("auto", "kvm", "qemu"),
            default="auto",
            metavar="auto|kvm|qemu",
            help="auto = kvm only when a guest has been seen to boot under it",
        ),
        "offer-cpu": Option(
            parse=values.name_of,
            metavar="MODEL",
            help="give guests no CPU model that needs a feature which this one lacks (default: no cap)",
        ),
        "probe-kernel": Option(
            parse=values.folder,
            metavar="FILE",
            help="kernel the kvm probe boots (default: the newest in /boot)",
        ),
        "allow-old-emulation": Option(
            parse=values.flag,
            flag=True,
            default=False,
            help="live-migrate emulated guests on QEMU before 9, which can corrupt them",
        ),
        "wait-hypervisor": Option(
            parse=values.flag,
            flag=True,
            default=False,
            help="wait for a hypervisor that does not answer at the start",
        ),
        "log-level": Option(
            parse=values.log_level, default="info", metavar="LEVEL", help="debug, info, warning or error"
        ),
        "log-format": Option(
            parse=values.log_format, default="text", metavar="text|json", help="form of the log"
        ),
    },
)
SETUP_OPTIONS = ("hypervisor", "pool", "pool-path", "state", "state-root")


def parser() -> Parser:
    """The command line of an agent."""
    found = Parser(
        prog="run_server.py",
        description="The agent of one host: offers it to the coordinator and runs VMs on it.",
        epilog="`run_server.py setup` prepares a host that has libvirt; see `run_server.py setup --help`.",
        allow_abbrev=False,
    )
    found.add_argument("coordinator_ip", help="the coordinator's address")
    found.add_argument("port", help="the coordinator's port")
    found.add_argument("memory_gib", help="the most memory to offer, in GiB; 0 = all but the reserve")
    TABLE.add_config_to(found)
    TABLE.add_to(found)
    return found


def read(argv: Sequence[str]) -> tuple[AgentSettings, dict[str, Any]]:
    """The settings, and all options by name. Raises OptionError; SystemExit only for --help."""
    given = vars(parser().parse_args(list(argv)))
    coordinator = values.address("coordinator_ip", given.pop("coordinator_ip"))
    port = values.whole(1, 65535)("port", given.pop("port"))
    memory = values.gib("memory_gib", given.pop("memory_gib"))
    options = TABLE.chosen(given)
    root = options["state-root"] or default_state_root().absolute()
    state = options["state"] or root / "agent"
    try:
        own = options["address"] or local_address_towards(coordinator, port)
    except TransportError as error:
        raise OptionError(f"coordinator_ip is {coordinator!r}: {error}") from error
    driver = DriverSettings(
        hypervisor=options["hypervisor"],
        address=own,
        state=state,
        pool=options["pool"],
        pool_path=options["pool-path"],
        migration_transport=options["migration-transport"],
        bridge=options["bridge"],
        network=options["network"],
        accelerator=options["accelerator"],
        probe_kernel=options["probe-kernel"],
        allow_old_emulation=options["allow-old-emulation"],
        offer_cpu=options["offer-cpu"] or "",
        host_name=options["name"] or own_name(),
    )
    settings = AgentSettings(
        coordinator=coordinator,
        port=port,
        memory_mib=memory,
        state=state,
        state_root=root,
        driver=driver,
        name=options["name"] or "",
        join=options["join"] or "",
        reserve_memory_mib=options["reserve-memory"],
        reserve_cpu=options["reserve-cpu"],
        cpu_overcommit=options["cpu-overcommit"],
        memory_overcommit=options["memory-overcommit"],
        labels=options["label"],
        resources=options["resource"],
        wait_hypervisor=options["wait-hypervisor"],
        fence=options["fence"],
    )
    return settings, options


def own_name() -> str:
    """The machine's host name, made a valid name."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()).lstrip("._-")[:63]
    return name or "host"
