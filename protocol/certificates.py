"""X.509 certificates of hosts: an authority, a request, a certificate; PEM in and out, nothing on disk.

Times are seconds since the epoch, serial numbers come in as values. Keys are ECDSA on P-256.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ORGANIZATION = "HP Greedy"
PLACEHOLDER = "placeholder"
AUTHORITY_DAYS, HOST_DAYS = 3650.0, 365.0
MAX_REQUEST, MAX_CERTIFICATE = 4096, 8192
_DAY = 86400.0
# A host whose clock is a little behind must not find its fresh certificate not valid yet.
_EARLIER = 3600.0
_NEVER = dict.fromkeys(
    ("content_commitment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"), False
)


class CertificateError(ValueError):
    """A request or certificate that cannot be used; the text is a sentence."""


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """A private key and its certificate; the key never shows in a repr."""

    key: bytes
    certificate: bytes

    def __repr__(self) -> str:
        return f"Pair(certificate={self.certificate!r})"


class CertificateFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a certificate says. `ours` = an authority of this project made it."""

    subject: str
    ours: bool
    placeholder: bool
    names: tuple[str, ...]
    serial: int
    begins: float
    ends: float
    fingerprint: str

    def due(self, now: float) -> bool:
        """Whether it should be renewed: two thirds of its life are over."""
        return now >= self.begins + (self.ends - self.begins) * 2 / 3


def make_key() -> bytes:
    """A fresh private key."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def make_authority(name: str, *, now: float, serial: int, days: float = AUTHORITY_DAYS) -> Pair:
    """A fresh certificate authority that may sign hosts' certificates and no further authorities."""
    key = make_key()
    private = _private(key)
    subject = _subject(name)
    made = (
        _builder(subject, subject, private.public_key(), (now, now + days * _DAY), serial)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(private, hashes.SHA256())
    )
    return Pair(key=key, certificate=_pem(made))


def make_request(key: bytes) -> bytes:
    """A signing request for that key. Its names are the authority's to give."""
    request = x509.CertificateSigningRequestBuilder().subject_name(_subject("host"))
    return request.sign(_private(key), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def issue(
    authority: Pair,
    request: bytes,
    *,
    name: str,
    addresses: Sequence[str],
    now: float,
    serial: int,
    days: float = HOST_DAYS,
) -> bytes:
    """A certificate for a host's key, for both ends of a connection, under these names and no others.

    `addresses` are IP addresses or DNS names. Of the request only the key counts. Raises CertificateError.
    """
    public = _requested(request)
    signer = x509.load_pem_x509_certificate(authority.certificate)
    private = _private(authority.key)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(private.public_key())
    made = (
        _builder(_subject(name), signer.subject, public, (now, now + days * _DAY), serial)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True, key_encipherment=True), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False
        )
        .add_extension(identifier, critical=False)
        .add_extension(x509.SubjectAlternativeName(_names(name, addresses)), critical=False)
        .sign(private, hashes.SHA256())
    )
    return _pem(made)


def facts_of(certificate: bytes) -> CertificateFacts:
    """What a certificate says. Raises CertificateError."""
    found = _certificate(certificate)
    names: tuple[str, ...] = ()
    try:
        alternatives = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = tuple(str(name.value) for name in alternatives)
    except x509.ExtensionNotFound:
        pass
    return CertificateFacts(
        subject=_attribute(found.subject, NameOID.COMMON_NAME),
        ours=_attribute(found.issuer, NameOID.ORGANIZATION_NAME) == ORGANIZATION,
        placeholder=_attribute(found.issuer, NameOID.COMMON_NAME) == PLACEHOLDER,
        names=names,
        serial=found.serial_number,
        begins=found.not_valid_before_utc.timestamp(),
        ends=found.not_valid_after_utc.timestamp(),
        fingerprint=found.fingerprint(hashes.SHA256()).hex(),
    )


def check(certificate: bytes, authority: bytes, key: bytes) -> None:
    """Raise CertificateError unless the certificate is for this key and that authority signed it."""
    found, signer = _certificate(certificate), _certificate(authority)
    if found.public_key() != _private(key).public_key():
        raise CertificateError("the certificate is for another key than this host's")
    try:
        found.verify_directly_issued_by(signer)
    except (InvalidSignature, ValueError, TypeError) as error:
        raise CertificateError("the certificate was not signed by the authority that came with it") from error


def _requested(request: bytes) -> ec.EllipticCurvePublicKey:
    if len(request) > MAX_REQUEST:
        raise CertificateError(f"the request has {len(request)} bytes; at most {MAX_REQUEST} are read")
    try:
        found = x509.load_pem_x509_csr(request)
        valid = found.is_signature_valid
        public = found.public_key()
    except Exception as error:  # the parser's own errors are many
        raise CertificateError("this is no certificate signing request in PEM") from error
    if not valid:
        raise CertificateError("the request is not signed with the key that it names")
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        raise CertificateError("the request's key must be an ECDSA key on P-256")
    return public


def _certificate(pem: bytes) -> x509.Certificate:
    if len(pem) > MAX_CERTIFICATE:
        raise CertificateError(f"the certificate has {len(pem)} bytes; at most {MAX_CERTIFICATE} are read")
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise CertificateError("this is no certificate in PEM") from error


def _private(pem: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise CertificateError("this is no private key in PEM") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CertificateError("the private key must be an ECDSA key")
    return key


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    life: tuple[float, float],
    serial: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(serial)
        .not_valid_before(_time(life[0] - _EARLIER))
        .not_valid_after(_time(life[1]))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(**allowed: bool) -> x509.KeyUsage:
    usual = dict.fromkeys(("digital_signature", "key_encipherment", "key_cert_sign", "crl_sign"), False)
    return x509.KeyUsage(**{**usual, **_NEVER, **allowed})


def _names(name: str, addresses: Sequence[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = [x509.DNSName(name)]
    for address in addresses:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(address)))
        except ValueError:
            found.append(x509.DNSName(address))
    return found


def _subject(name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, name[:64]),
        ]
    )


def _attribute(name: x509.Name, kind: x509.ObjectIdentifier) -> str:
    found = name.get_attributes_for_oid(kind)
    return str(found[0].value) if found else ""


def _time(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
