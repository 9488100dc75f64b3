from protocol.liveness import Liveness


def test_a_peer_never_heard_is_silent():
    assert Liveness(5).state(0) == "silent"


def test_a_peer_is_up_until_the_timeout_has_passed():
    peer = Liveness(5)
    peer.heard(100)
    assert [peer.state(now) for now in (100, 105, 105.001)] == ["up", "up", "silent"]


def test_hearing_again_brings_it_up():
    peer = Liveness(5)
    peer.heard(0)
    peer.heard(20)
    assert peer.state(24) == "up"
    assert peer.last == 20


def test_a_late_older_sign_does_not_turn_time_back():
    peer = Liveness(5)
    peer.heard(20)
    peer.heard(3)
    assert peer.state(24) == "up"
