"""The certificate files that libvirt and QEMU read on a host."""

from __future__ import annotations

import contextlib
import grp
import os
import secrets
from pathlib import Path

import msgspec

from agent.errors import AgentError
from protocol.certificates import (
    PLACEHOLDER,
    CertificateError,
    CertificateFacts,
    check,
    facts_of,
    issue,
    make_authority,
    make_key,
    make_request,
)

FOLDER = Path("/etc/pki")
QEMU_GROUPS = ("libvirt-qemu", "qemu")
KEY = "libvirt/private/serverkey.pem"
CERTIFICATE = "libvirt/servercert.pem"
AUTHORITY = "CA/cacert.pem"
# The same key and certificate serve both ends of a connection, in libvirtd and in QEMU.
_KEYS = {KEY: 0o600, "libvirt/private/clientkey.pem": 0o600}
_QEMU_KEYS = ("qemu/server-key.pem", "qemu/client-key.pem")
_CERTIFICATES = (CERTIFICATE, "libvirt/clientcert.pem", "qemu/server-cert.pem", "qemu/client-cert.pem")
_AUTHORITIES = (AUTHORITY, "qemu/ca-cert.pem")
_DAYS = 3650.0


class Here(msgspec.Struct, frozen=True, kw_only=True):
    """What lies in the folder: nothing (`certificate` None), somebody else's, a placeholder or ours.

    `problem` is not empty when files are missing, cannot be read or do not belong together.
    """

    certificate: CertificateFacts | None = None
    authority: str = ""
    problem: str = ""

    @property
    def foreign(self) -> bool:
        """Whether somebody else's certificates are here, which are left alone."""
        return self.certificate is not None and not self.certificate.ours


def look(folder: Path) -> Here:
    """Look at the files; changes nothing."""
    found = None
    try:
        certificate, authority = (folder / CERTIFICATE).read_bytes(), (folder / AUTHORITY).read_bytes()
        found, signer = facts_of(certificate), facts_of(authority)
        if found.ours:
            check(certificate, authority, (folder / KEY).read_bytes())
            for name in (*_AUTHORITIES, *_CERTIFICATES, *_KEYS, *_QEMU_KEYS):
                (folder / name).stat()
    except FileNotFoundError as error:
        return Here(certificate=found, problem=f"{error.filename} is missing")
    except OSError as error:
        return Here(certificate=found, problem=f"{error.filename} cannot be read: {error.strerror}")
    except CertificateError as error:
        return Here(certificate=found, problem=f"{folder / CERTIFICATE} or {folder / AUTHORITY}: {error}")
    return Here(certificate=found, authority=signer.fingerprint)


def request(folder: Path) -> bytes:
    """A signing request for this host's key, which is made when there is none and never leaves the host.

    Raises AgentError.
    """
    try:
        key = (folder / KEY).read_bytes()
    except FileNotFoundError:
        key = make_key()
        _write_keys(folder, key)
    except OSError as error:
        raise AgentError(f"{folder / KEY} cannot be read: {error.strerror}") from error
    try:
        return make_request(key)
    except CertificateError as error:
        raise AgentError(f"{folder / KEY}: {error}; remove it and restart the agent") from error


def install(folder: Path, certificate: bytes, authority: bytes) -> None:
    """Put a certificate and its authority's where libvirt and QEMU look, each file whole.

    Raises AgentError when they do not belong to this host's key or cannot be written.
    """
    try:
        key = (folder / KEY).read_bytes()
        check(certificate, authority, key)
        _write_keys(folder, key)
        for name in _AUTHORITIES:
            _write(folder / name, authority, 0o644)
        for name in _CERTIFICATES:
            _write(folder / name, certificate, 0o644)
    except CertificateError as error:
        raise AgentError(f"the certificate that came is not used: {error}") from error
    except OSError as error:
        raise AgentError(f"{error.filename} cannot be written: {error.strerror}") from error


def write_placeholder(folder: Path, now: float) -> None:
    """Have something with which libvirtd starts to listen for TLS before the coordinator has vouched for it.

    Nobody trusts it: its authority's key is thrown away at once. Raises AgentError.
    """
    authority = make_authority(PLACEHOLDER, now=now, serial=_serial(), days=_DAYS)
    certificate = issue(
        authority, request(folder), name=PLACEHOLDER, addresses=(), now=now, serial=_serial(), days=_DAYS
    )
    install(folder, certificate, authority.certificate)


def _write_keys(folder: Path, key: bytes) -> None:
    try:
        for name, mode in _KEYS.items():
            _write(folder / name, key, mode)
        group = _qemu_group()
        for name in _QEMU_KEYS:
            _write(folder / name, key, 0o600 if group is None else 0o640, group)
    except OSError as error:
        raise AgentError(f"{error.filename} cannot be written: {error.strerror}") from error


def _qemu_group() -> int | None:
    """The group under which QEMU runs, which must read its key; None where there is no such group."""
    for name in QEMU_GROUPS:
        with contextlib.suppress(KeyError):
            return grp.getgrnam(name).gr_gid
    return None


def _write(path: Path, content: bytes, mode: int, group: int | None = None) -> None:
    for folder in (path.parent.parent, path.parent):
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    if path.parent.name == "private":
        path.parent.chmod(0o700)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            if group is not None and os.geteuid() == 0:
                os.fchown(file.fileno(), 0, group)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _serial() -> int:
    return int.from_bytes(secrets.token_bytes(16), "big") | 1
