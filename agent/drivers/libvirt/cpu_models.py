"""Which CPU models guests can be given here, and which of them are richer than others; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lxml import etree
from lxml.builder import E

from agent.drivers.libvirt.metadata import parse_xml
from agent.terms import bad_cap

Expand = Callable[[str], str | None]
"""libvirt's baseline of one CPU's XML with its features written out; None = it does not know the model."""
Features = Mapping[str, frozenset[str]]


def model_element(model: str) -> Any:
    """The ``<cpu>`` of a guest that is to have exactly this model."""
    # Not check='full': QEMU adds features of its own, such as hypervisor, which libvirt would then refuse.
    return E.cpu(
        {"mode": "custom", "match": "exact", "check": "partial"}, E.model({"fallback": "forbid"}, model)
    )


def known_models(domain_capabilities: str) -> dict[str, bool]:
    """The models that libvirt has names for, each with whether a guest can have it here."""
    found = parse_xml(domain_capabilities).findall("cpu/mode[@name='custom']/model")
    return {model.text: model.get("usable") == "yes" for model in found if model.text}


def features_of(models: Mapping[str, bool], expand: Expand) -> Features:
    """The features that each usable model needs."""
    features = {}
    for model in (name for name, usable in models.items() if usable):
        baseline = expand(etree.tostring(model_element(model), encoding="unicode"))
        if baseline is not None:
            needed = parse_xml(baseline).findall("feature[@policy='require']")
            features[model] = frozenset(feature.get("name", "") for feature in needed)
    return features


def offered(models: Mapping[str, bool], features: Features, cap: str) -> tuple[str, ...]:
    """The usable models, from the poorest to the richest; with a `cap` those that need nothing it lacks.

    Raises CommandError("bad_arguments") when no guest can have the cap here.
    """
    ordered = tuple(sorted(features, key=lambda model: (len(features[model]), model)))
    if not cap:
        return ordered
    if cap not in features:
        why = "which this host cannot run" if cap in models else "which libvirt does not know here"
        raise bad_cap(cap, why, ordered)
    return tuple(model for model in ordered if features[model] <= features[cap])
