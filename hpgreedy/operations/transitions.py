"""The states of every kind of operation and how one follows another: the machine as data.

`Context.goto` allows nothing else, and the diagrams of the documentation are drawn from this table.
"""

from __future__ import annotations

ENDED = ("completed", "failed", "cancelled")

TRANSITIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "create": {
        "waiting": ("provisioning", "failed", "cancelled"),
        "making_room": ("provisioning", "failed", "cancelled"),
        "provisioning": ("starting", "cleaning", "failed"),
        "starting": ("completed", "cleaning"),
        "cleaning": ("failed", "cancelled"),
    },
    "delete": {
        "withdrawing": ("completed",),
        "shutting_down": ("removing", "failed", "cancelled"),
        "destroying": ("removing", "failed"),
        "removing": ("completed", "failed"),
    },
    "migrate": {
        "pending": ("preparation", "failed", "cancelled"),
        "preparation": ("execution", "rolling_back", "failed", "cancelled"),
        "execution": ("verification",),
        "verification": ("execution", "verification", "finishing", "rolling_back", "failed"),
        "finishing": ("completed",),
        "rolling_back": ("verification", "failed", "cancelled"),
    },
    "start": {"starting": ("completed", "failed")},
    "stop": {"shutting_down": ("completed", "failed", "cancelled")},
    "adopt": {"adopting": ("completed", "failed")},
    "delete_image": {"deleting": ("completed", "failed")},
}

FIRST: dict[str, tuple[str, ...]] = {
    "create": ("waiting", "making_room", "provisioning"),
    "delete": ("withdrawing", "shutting_down", "destroying"),
    "migrate": ("pending", "preparation"),
    "start": ("starting",),
    "stop": ("shutting_down",),
    "adopt": ("adopting",),
    "delete_image": ("deleting",),
}

TOO_LATE: dict[str, dict[str, str]] = {
    "create": {
        "starting": "its domain is being started; delete the VM once it runs",
        "cleaning": "what was made of it is being removed already",
    },
    "delete": {
        "withdrawing": "the VM is out of the queue already",
        "destroying": "its domain is being switched off",
        "removing": "its guest is stopped, and domain and disks are being removed",
    },
    "migrate": {
        "verification": "both hosts are being asked where it runs now; ask again in a moment",
        "finishing": "it runs at its target already; migrate it back once this has ended",
        "rolling_back": "it did not move, and what was prepared at its target is being removed already",
    },
    "start": {"starting": "its domain is being started; stop the VM once it runs"},
    "stop": {},
    "adopt": {"adopting": "its host is writing the cluster's metadata into the domain"},
    "delete_image": {"deleting": "hosts are deleting its files"},
}
"""Why an operation is not cancelled in this state; in all others it is."""

WHAT_IT_DOES: dict[str, str] = {
    "waiting": "waits in the queue of `delayed` for a host that it fills; no room is held for it",
    "withdrawing": "the VM, of which nothing was made yet, is taken out of the queue",
    "making_room": "waits for the live migrations that make room on its host",
    "provisioning": "the host fetches images, makes disks and defines the domain",
    "starting": "the domain is being started",
    "cleaning": "what was made of the VM is removed again",
    "shutting_down": "the guest was asked to shut down",
    "destroying": "the domain is stopped without asking the guest",
    "removing": "domain and disks are removed from the host",
    "pending": "its turn comes when the moves before it have ended; room is held at both ends",
    "preparation": "the target is made ready: images, networks, empty disks where they are copied",
    "execution": "libvirt moves the running domain, peer to peer",
    "verification": "both hosts are asked where the domain runs now; that decides the outcome",
    "finishing": "what is left at the source is removed",
    "rolling_back": "what was prepared at the target is removed; the domain goes on at the source",
    "adopting": "our metadata is stamped into the domain",
    "deleting": "the image's files are removed from the hosts",
    "completed": "ended as asked",
    "failed": "ended otherwise; the error says what failed and what state things are in",
    "cancelled": "ended because somebody asked for it; the error says what state things are in",
}


def mermaid(kind: str) -> str:
    """The state diagram of a kind, in Mermaid's notation."""
    lines = ["stateDiagram-v2"]
    lines += [f"  [*] --> {state}" for state in FIRST[kind]]
    for state, targets in TRANSITIONS[kind].items():
        lines += [f"  {state} --> {target}" for target in targets]
    reached = {target for targets in TRANSITIONS[kind].values() for target in targets}
    lines += [f"  {state} --> [*]" for state in ENDED if state in reached]
    return "\n".join(lines)
