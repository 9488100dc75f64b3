import asyncio
import stat

import pytest

from agent import pki
from agent.encryption import Encryption
from agent.errors import AgentError
from agent.placeholder import main
from protocol.certificates import facts_of, issue, make_authority
from protocol.messages import CertificateIssued, CertificateRequest, Refused

NOW = 1_800_000_000.0
CA = make_authority("test", now=NOW, serial=7)
FINGERPRINT = facts_of(CA.certificate).fingerprint


def files(folder):
    return {
        str(p.relative_to(folder)): stat.S_IMODE(p.stat().st_mode) for p in folder.rglob("*") if p.is_file()
    }


class Coordinator:
    def __init__(self, address="10.0.0.1", answer=None):
        self.asked, self.address, self.answer, self.authority = 0, address, answer, CA

    async def ask(self, message):
        self.asked += 1
        assert isinstance(message, CertificateRequest)
        if self.answer is not None:
            return self.answer
        made = issue(
            self.authority, message.request, name="h1", addresses=(self.address,), now=NOW, serial=self.asked
        )
        return CertificateIssued(certificate=made, authority=self.authority.certificate)


def kept(folder, coordinator, authority=FINGERPRINT, *, now=NOW, reload=lambda: ""):
    keeper = Encryption(folder, "10.0.0.1", coordinator.ask, reload, lambda: now)
    asyncio.run(keeper.keep(authority))
    return keeper.state


def test_a_placeholder_has_every_file_with_its_mode_and_is_replaced(tmp_path):
    assert main([str(tmp_path)]) == 0
    modes = files(tmp_path)
    assert len(modes) == 10
    assert modes["libvirt/private/serverkey.pem"] == modes["libvirt/private/clientkey.pem"] == 0o600
    assert modes["qemu/server-key.pem"] & 0o007 == 0
    assert modes["CA/cacert.pem"] == 0o644
    key = (tmp_path / pki.KEY).read_bytes()
    here = pki.look(tmp_path)
    assert here.certificate.placeholder
    assert not here.problem
    coordinator = Coordinator()
    assert kept(tmp_path, coordinator) == "on"
    assert coordinator.asked == 1
    assert not pki.look(tmp_path).certificate.placeholder
    assert (tmp_path / pki.KEY).read_bytes() == key, "the private key stays"
    assert main([str(tmp_path)]) == 0
    assert not pki.look(tmp_path).certificate.placeholder, "what is there is left alone"


def test_a_certificate_is_asked_for_once_and_again_when_it_is_due(tmp_path):
    coordinator = Coordinator()
    assert kept(tmp_path, coordinator) == "on"
    assert kept(tmp_path, coordinator, now=NOW + 200 * 86400) == "on"
    assert coordinator.asked == 1
    assert kept(tmp_path, coordinator, now=NOW + 250 * 86400) == "on"
    assert coordinator.asked == 2


def test_another_authority_another_address_or_a_lost_file_means_a_new_one(tmp_path):
    coordinator = Coordinator()
    kept(tmp_path, coordinator)
    coordinator.authority = make_authority("new", now=NOW, serial=8)
    assert kept(tmp_path, coordinator, facts_of(coordinator.authority.certificate).fingerprint) == "on"
    assert coordinator.asked == 2
    (tmp_path / "qemu/ca-cert.pem").unlink()
    kept(tmp_path, coordinator, facts_of(coordinator.authority.certificate).fingerprint)
    assert coordinator.asked == 3
    moved = Encryption(tmp_path, "10.0.0.9", coordinator.ask, lambda: "", lambda: NOW)
    asyncio.run(moved.keep(facts_of(coordinator.authority.certificate).fingerprint))
    assert coordinator.asked == 4


def test_somebody_elses_certificates_are_left_alone(tmp_path):
    pki.write_placeholder(tmp_path, NOW)
    key = (tmp_path / pki.KEY).read_bytes()
    foreign = facts_of((tmp_path / pki.CERTIFICATE).read_bytes())
    assert foreign.ours
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    private = serialization.load_pem_private_key(key, None)
    name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Somebody")])
    found = x509.load_pem_x509_certificate((tmp_path / pki.CERTIFICATE).read_bytes())
    other = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(found.public_key())
        .serial_number(5)
        .not_valid_before(found.not_valid_before_utc)
        .not_valid_after(found.not_valid_after_utc)
        .sign(private, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    (tmp_path / pki.CERTIFICATE).write_bytes(other)
    coordinator = Coordinator()
    assert kept(tmp_path, coordinator).startswith("on: with certificates")
    assert coordinator.asked == 0
    assert (tmp_path / pki.CERTIFICATE).read_bytes() == other


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Refused(code="certificate", reason="no, for a reason"), "no, for a reason"),
        (None, "libvirtd does not take"),
        (CertificateIssued(certificate=CA.certificate, authority=CA.certificate), "another key"),
        (CertificateIssued(certificate=b"x", authority=b"x"), "not used"),
    ],
)
def test_what_goes_wrong_is_shown_and_tried_again(tmp_path, answer, words):
    state = kept(tmp_path, Coordinator(answer=answer), reload=lambda: "it is away")
    assert state.startswith("off: ")
    assert words in state
    (tmp_path / "fresh").mkdir()
    assert kept(tmp_path / "fresh", Coordinator()) == "on"


def test_a_coordinator_that_issues_none_is_named(tmp_path):
    assert "issues no certificates" in kept(tmp_path, Coordinator(), "")
    assert files(tmp_path) == {}


def test_a_damaged_key_is_a_sentence(tmp_path):
    pki.write_placeholder(tmp_path, NOW)
    (tmp_path / pki.KEY).write_text("nonsense")
    with pytest.raises(AgentError, match="no private key"):
        pki.request(tmp_path)
    assert "no private key" in pki.look(tmp_path).problem
