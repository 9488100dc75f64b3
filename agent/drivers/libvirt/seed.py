"""The cloud-init seed: a small ISO image labelled ``cidata`` (NoCloud); pure but for pycdlib's dates."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pycdlib

from protocol.spec import CloudInit

# YAML takes JSON, but not every character that JSON leaves unescaped.
_UNPRINTABLE = re.compile("[\x7f-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")


def seed_files(uuid: str, name: str, cloud_init: CloudInit) -> dict[str, bytes]:
    """The files of the seed: user-data, meta-data and, if given, network-config."""
    hostname = cloud_init.hostname or name
    files = {
        "user-data": _user_data(hostname, cloud_init),
        "meta-data": _yaml({"instance-id": uuid, "local-hostname": hostname}),
    }
    if cloud_init.network is not None:
        files["network-config"] = _yaml({"version": 2, **cloud_init.network})
    return files


def seed_iso(files: dict[str, bytes]) -> bytes:
    """An ISO 9660 image with Joliet and Rock Ridge names; the same files always lie at the same places."""
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident="cidata")
    for name, content in sorted(files.items()):
        plain = name.replace("-", "_").upper()
        iso.add_fp(io.BytesIO(content), len(content), f"/{plain}.;1", rr_name=name, joliet_path=f"/{name}")
    out = io.BytesIO()
    iso.write_fp(out)
    iso.close()
    return out.getvalue()


def _user_data(hostname: str, cloud_init: CloudInit) -> bytes:
    if cloud_init.user_data is not None:
        return cloud_init.user_data.encode("utf-8", errors="replace")
    data: dict[str, Any] = {"hostname": hostname, "preserve_hostname": False}
    keys = list(cloud_init.ssh_keys)
    if cloud_init.user is not None:
        user = {
            "name": cloud_init.user,
            "shell": "/bin/bash",
            "sudo": "ALL=(ALL) NOPASSWD:ALL",
            "lock_passwd": True,
            "ssh_authorized_keys": keys,
        }
        data["users"] = [user]
    elif keys:
        data["ssh_authorized_keys"] = keys
    return b"#cloud-config\n" + _yaml(data)


def _yaml(value: dict[str, Any]) -> bytes:
    text = json.dumps(value, ensure_ascii=False, indent=1)
    return (_UNPRINTABLE.sub(lambda m: f"\\u{ord(m[0]):04x}", text) + "\n").encode("utf-8")
