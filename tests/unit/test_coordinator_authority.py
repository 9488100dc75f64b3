import stat
from types import SimpleNamespace

import pytest

from hpgreedy.coordinator.authority import Authority
from protocol.certificates import facts_of, make_key, make_request
from protocol.messages import CertificateIssued, CertificateRequest, Refused
from protocol.transport.errors import TransportError

NOW = 1_800_000_000.0


def host(name, address):
    return SimpleNamespace(name=name, hello=SimpleNamespace(address=address))


WORLD = SimpleNamespace(hosts={"h1": host("h1", "10.0.0.1"), "h2": host("h2", "10.0.0.2")})
ASKED = CertificateRequest(request=make_request(make_key()))


def made(folder):
    return Authority.load_or_create(folder, "cluster", lambda: NOW)


def test_the_authority_is_made_once_and_only_its_owner_reads_it(tmp_path):
    first = made(tmp_path)
    assert stat.S_IMODE((tmp_path / "ca.pem").stat().st_mode) == 0o600
    assert made(tmp_path).fingerprint == first.fingerprint


def test_one_that_others_can_read_or_that_is_damaged_is_refused(tmp_path):
    made(tmp_path)
    (tmp_path / "ca.pem").chmod(0o644)
    with pytest.raises(TransportError, match="chmod 600"):
        made(tmp_path)
    (tmp_path / "ca.pem").chmod(0o600)
    (tmp_path / "ca.pem").write_text("nonsense")
    with pytest.raises(TransportError, match="damaged"):
        made(tmp_path)


def test_a_host_gets_a_certificate_for_its_own_name_and_address(tmp_path):
    authority = made(tmp_path)
    answers = [authority.answer(WORLD, WORLD.hosts["h1"], ASKED) for _ in range(2)]
    facts = [facts_of(answer.certificate) for answer in answers if isinstance(answer, CertificateIssued)]
    assert [one.names for one in facts] == [("h1", "10.0.0.1")] * 2
    assert facts[0].serial != facts[1].serial
    assert facts_of(answers[0].authority).fingerprint == authority.fingerprint


@pytest.mark.parametrize(("name", "address"), [("h1", "10.0.0.2"), ("h1", "H2"), ("10.0.0.2", "10.0.0.9")])
def test_nobody_gets_a_certificate_for_another_hosts_name_or_address(tmp_path, name, address):
    answer = made(tmp_path).answer(WORLD, host(name, address), ASKED)
    assert isinstance(answer, Refused)
    assert "name or address of host h2" in answer.reason


def test_a_request_that_is_none_is_refused(tmp_path):
    answer = made(tmp_path).answer(WORLD, WORLD.hosts["h1"], CertificateRequest(request=b"x"))
    assert isinstance(answer, Refused)
    assert "no certificate signing request" in answer.reason
