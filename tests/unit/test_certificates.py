import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.certificates import (
    CertificateError,
    check,
    facts_of,
    issue,
    make_authority,
    make_key,
    make_request,
)

NOW = 1_800_000_000.0
YEAR = 365 * 86400.0
CA = make_authority("test", now=NOW, serial=7)
KEY = make_key()


def issued(**more):
    given = {"name": "h1", "addresses": ("10.0.0.1", "h1.example"), "now": NOW, "serial": 9, **more}
    return issue(CA, make_request(KEY), **given)


def test_a_certificate_says_who_the_host_is_and_serves_both_ends():
    made = issued()
    facts = facts_of(made)
    assert facts.names == ("h1", "10.0.0.1", "h1.example")
    assert (facts.subject, facts.serial, facts.ours, facts.placeholder) == ("h1", 9, True, False)
    assert facts.ends - NOW == YEAR
    assert facts.begins < NOW, "a clock that is a little behind takes it"
    found = x509.load_pem_x509_certificate(made)
    usages = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert {usage._name for usage in usages} == {"serverAuth", "clientAuth"}
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    check(made, CA.certificate, KEY)


def test_it_is_due_after_two_thirds_of_its_life():
    facts = facts_of(issued())
    assert not facts.due(NOW + 0.66 * YEAR)
    assert facts.due(NOW + 0.67 * YEAR)


def test_only_the_key_of_a_request_counts():
    wishes = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "h2")])
    )
    wishes = wishes.add_extension(x509.SubjectAlternativeName([x509.DNSName("h2")]), critical=False)
    wishes = wishes.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    private = serialization.load_pem_private_key(KEY, None)
    asked = wishes.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    made = issue(CA, asked, name="h1", addresses=(), now=NOW, serial=9)
    assert facts_of(made).names == ("h1",)
    extensions = x509.load_pem_x509_certificate(made).extensions
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_certificate_of_another_authority_or_key_is_not_taken():
    other = make_authority("test", now=NOW, serial=8)
    with pytest.raises(CertificateError, match="not signed by the authority"):
        check(issued(), other.certificate, KEY)
    with pytest.raises(CertificateError, match="another key"):
        check(issued(), CA.certificate, make_key())


def test_requests_that_are_none_are_refused():
    weak = rsa.generate_private_key(65537, 2048)
    named = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    rsa_request = named.sign(weak, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    good = make_request(KEY)
    tampered = good[:100] + (b"B" if good[100:101] != b"B" else b"C") + good[101:]
    for bad, words in ((rsa_request, "ECDSA"), (b"x" * 5000, "5000 bytes"), (b"", "PEM"), (tampered, "")):
        with pytest.raises(CertificateError, match=words or None):
            issue(CA, bad, name="h1", addresses=(), now=NOW, serial=9)


@given(st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_no_garbage_is_signed(data):
    with pytest.raises(CertificateError):
        issue(CA, b"-----BEGIN CERTIFICATE REQUEST-----\n" + data, name="h", addresses=(), now=NOW, serial=1)


def test_keys_do_not_show():
    assert b"PRIVATE" in CA.key
    assert "PRIVATE" not in repr(CA)
