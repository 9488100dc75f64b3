"""The CPU model of VMs that name none, so that they can move to any host of their kind."""

from __future__ import annotations

from collections.abc import Iterable

from protocol.messages import Hello


def baseline_of(hellos: Iterable[Hello]) -> str | None:
    """The richest CPU model that all KVM hosts offer, None when there is none or no such host says.

    Each host names its models from the poorest to the richest.
    """
    offers = [hello.cpu_models for hello in hellos if is_kvm(hello) and hello.cpu_models]
    if not offers:
        return None
    common = frozenset(offers[0]).intersection(*offers[1:])
    return next((model for model in reversed(offers[0]) if model in common), None)


def is_kvm(hello: Hello) -> bool:
    """Whether the host's guests run on its own CPUs, rather than on emulated ones."""
    return hello.accelerator.kind == "kvm"
