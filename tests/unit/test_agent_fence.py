import pytest

from agent.addresses import usable
from agent.fence import Grant, NftFence, NoFence, make_fence, rules
from protocol.commands import CommandError

NOW = 1000.0


class Nft:
    def __init__(self):
        self.scripts, self.problem = [], ""

    def __call__(self, script):
        self.scripts.append(script)
        return self.problem

    @property
    def elements(self):
        return [line.strip() for line in self.scripts[-1].splitlines() if "elements" in line]


@pytest.fixture
def nft():
    return Nft()


@pytest.fixture
def fence(tmp_path, nft):
    made = NftFence(tmp_path / "state" / "fence.json", nft, lambda: NOW)
    made.begin(())
    return made


def test_nothing_is_open_at_first(fence, nft):
    assert fence.state == "on"
    assert nft.elements == []
    assert 'iif "lo" accept' in nft.scripts[-1]
    assert "tcp dport { 16509, 16514 } counter reject" in nft.scripts[-1]
    assert "tcp dport 49152-49215 tcp flags syn / syn,ack counter reject" in nft.scripts[-1]


def test_a_source_is_let_in_until_its_deadline_or_the_end(fence, nft):
    fence.open("a", ["10.0.0.1", "fd00::1"], 60)
    assert nft.elements == ["elements = { 10.0.0.1 timeout 60s }", "elements = { fd00::1 timeout 60s }"]
    fence.open("b", ["10.0.0.1", "10.0.0.2"], 30)
    assert nft.elements[0] == "elements = { 10.0.0.1 timeout 60s, 10.0.0.2 timeout 30s }"
    fence.close("a")
    assert nft.elements == ["elements = { 10.0.0.1 timeout 30s, 10.0.0.2 timeout 30s }"]
    fence.close("b")
    assert nft.elements == []
    said = len(nft.scripts)
    fence.close("b")
    assert len(nft.scripts) == said, "what was not open needs no closing"


def test_after_a_restart_only_what_arrives_right_now_stays_open(tmp_path, fence, nft):
    fence.open("a", ["10.0.0.1"], 60)
    fence.open("b", ["10.0.0.2"], 60)
    fence.open("c", ["10.0.0.3"], 20)
    again = NftFence(tmp_path / "state" / "fence.json", nft, lambda: NOW + 30)
    again.begin({"a", "c"})
    assert nft.elements == ["elements = { 10.0.0.1 timeout 30s }"]


@pytest.mark.parametrize("address", ["10.0.0.1 } ; flush ruleset", "host", "", "10.0.0.0/8"])
def test_only_addresses_reach_nft(fence, nft, address):
    said = len(nft.scripts)
    with pytest.raises(CommandError) as caught:
        fence.open("a", [address], 60)
    assert caught.value.code == "bad_arguments"
    assert len(nft.scripts) == said


def test_nft_that_fails_is_shown_and_opens_nothing(fence, nft):
    nft.problem = "nft refused: no"
    with pytest.raises(CommandError, match="nft refused: no"):
        fence.open("a", ["10.0.0.1"], 60)
    assert fence.state == "off: nft refused: no"
    nft.problem = ""
    fence.open("b", ["10.0.0.2"], 60)
    assert fence.state == "on"
    assert nft.elements == ["elements = { 10.0.0.2 timeout 60s }"]


def test_a_damaged_file_opens_nothing(tmp_path, fence, nft):
    (tmp_path / "state" / "fence.json").write_text('[["a", 5]]')
    NftFence(tmp_path / "state" / "fence.json", nft, lambda: NOW).begin({"a"})
    assert nft.elements == []


def test_what_is_over_is_not_in_the_rules():
    assert "elements" not in rules([Grant("a", ("10.0.0.1",), NOW - 1)], NOW)


def test_a_host_without_a_fence_says_why(tmp_path, monkeypatch):
    assert "--fence off" in make_fence("off", tmp_path / "f", simulated=False).state
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda _name: None)
    none = make_fence("auto", tmp_path / "f", simulated=False)
    assert isinstance(none, NoFence)
    assert none.state == "off: nft is not installed: type `apt install nftables` and restart the agent"
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert "root" in make_fence("auto", tmp_path / "f", simulated=False).state


def test_addresses_that_others_can_see():
    found = ["h1.example", "10.0.0.1", "127.0.0.1", "fe80::1%eth0", "10.0.0.1", "fd00::5", "0.0.0.0"]
    assert usable(found) == ("10.0.0.1", "fd00::5")
