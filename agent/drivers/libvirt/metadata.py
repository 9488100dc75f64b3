"""Our stamp in a domain's metadata: written by us, but read back as untrusted; pure."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from lxml import etree

from protocol.commands import Stamp
from protocol.spec import SpecError, VmSpec, decode_json, decode_spec, encode_spec

NAMESPACE = "https://hpgreedy.org/xmlns/domain/1"
PREFIX = "hpg"
MAX_SIZE = 512 * 1024
_TAG = f"{{{NAMESPACE}}}"
_NO_ENTITIES: dict[str, Any] = {"resolve_entities": False, "no_network": True, "huge_tree": False}


class Stamped(msgspec.Struct, frozen=True, kw_only=True):
    """A stamp as it was found; `raw` is the spec as builtin values."""

    spec: VmSpec
    raw: dict[str, Any]
    stamp: Stamp


def parse_xml(text: str) -> Any:
    """The root element of XML that libvirt gave us; raises ValueError when it is none."""
    try:
        return etree.fromstring(text.encode("utf-8"), etree.XMLParser(**_NO_ENTITIES))
    except etree.XMLSyntaxError as error:
        raise ValueError(f"libvirt's XML cannot be read: {error}") from error


def metadata_element(spec: VmSpec, stamp: Stamp) -> Any:
    """The element that goes into ``<metadata>``. Its texts are ASCII JSON, which XML always carries."""
    return _fill(etree.Element(f"{_TAG}vm", nsmap={PREFIX: NAMESPACE}), _TAG, spec, stamp)


def metadata_xml(spec: VmSpec, stamp: Stamp) -> str:
    """The same as virDomainSetMetadata takes it: without the namespace, which libvirt puts in."""
    return str(etree.tostring(_fill(etree.Element("vm"), "", spec, stamp), encoding="unicode"))


def read_metadata(domain: Any) -> Stamped | None:
    """Our stamp in a domain's XML; None when there is none, or none that can be read."""
    root = domain.find(f"metadata/{_TAG}vm")
    if root is None:
        return None
    spec, stamp = root.findtext(f"{_TAG}spec"), root.findtext(f"{_TAG}stamp")
    if not spec or not stamp or len(spec) + len(stamp) > MAX_SIZE:
        return None
    try:
        raw = decode_json(spec, "spec")
        return Stamped(
            spec=decode_spec(raw, VmSpec), raw=raw, stamp=decode_spec(decode_json(stamp, "stamp"), Stamp)
        )
    except (SpecError, ValueError):
        return None


def _fill(root: Any, tag: str, spec: VmSpec, stamp: Stamp) -> Any:
    etree.SubElement(root, f"{tag}spec").text = _json(encode_spec(spec))
    etree.SubElement(root, f"{tag}stamp").text = _json(msgspec.to_builtins(stamp))
    return root


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))
