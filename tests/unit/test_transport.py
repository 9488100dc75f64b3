import asyncio
import os
import socket
from pathlib import Path

import pytest

from protocol.codec import JSON, MSGPACK, decode, encode
from protocol.messages import Join, Joined, Refused, Reply, Request
from protocol.spec import SpecError
from protocol.transport.access import (
    JoinToken,
    LocalAccess,
    PeerAccess,
    default_state_root,
    local_access_path,
)
from protocol.transport.dealer import Dealer, request
from protocol.transport.errors import TransportError
from protocol.transport.joining import JoinRefusedError, join
from protocol.transport.keys import generate_keys, load_or_create_keys
from protocol.transport.router import Router

SERVER = generate_keys()


async def started(admitted: set[str], address: str = "127.0.0.1", port: int = 0) -> Router:
    router = Router(address, port, SERVER, admitted.__contains__)
    await router.start()
    return router


async def connected(router: Router, keys) -> Dealer:
    dealer = Dealer(router.address, router.port, SERVER.public, keys)
    await dealer.connect()
    return dealer


async def until(reached) -> None:
    async with asyncio.timeout(10):
        while not await reached():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def push(dealer: Dealer, frames: list[bytes]) -> None:
    await until(lambda: dealer.send(frames))


async def echo(router: Router, make=lambda got: Reply(ok=True, result="fine")) -> None:
    while True:
        got = await router.receive()
        incoming = decode(got.frames)
        answer = make(incoming.body)
        if answer is not None:
            await router.send(got.peer, encode(answer, id="x", re=incoming.envelope.id, codec=incoming.codec))


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_a_message_carries_the_senders_key_and_an_answer_finds_back(address):
    keys = generate_keys()
    router = await started({keys.public}, address)
    dealer = await connected(router, keys)
    await push(dealer, [b"m", b"hello"])
    got = await router.receive()
    assert (got.user_id, got.frames) == (keys.public, [b"m", b"hello"])
    assert await router.send(got.peer, [b"m", b"back"])
    assert await dealer.receive() == [b"m", b"back"]
    await dealer.close()
    await router.close()


async def test_two_peers_with_one_key_are_two_connections():
    keys = generate_keys()
    router = await started({keys.public})
    first, second = await connected(router, keys), await connected(router, keys)
    await push(first, [b"1"])
    one = await router.receive()
    await push(second, [b"2"])
    two = await router.receive()
    assert one.peer != two.peer
    assert one.user_id == two.user_id
    for part in (first, second, router):
        await part.close()


async def test_an_unknown_key_hears_nothing_and_is_counted():
    router = await started(set())
    dealer = await connected(router, generate_keys())
    with pytest.raises(TransportError, match="does not let this key in"):
        await request(dealer, Request(verb="status"), 1.0)
    assert router.refused >= 1
    await dealer.close()
    await router.close()


async def test_a_key_admitted_later_gets_in_when_the_dealer_connects_anew():
    keys = generate_keys()
    admitted: set[str] = set()
    router = await started(admitted)
    dealer = await connected(router, keys)

    async def refused():
        return router.refused > 0

    await until(refused)
    admitted.add(keys.public)
    await dealer.connect()
    await push(dealer, [b"now"])
    assert (await router.receive()).frames == [b"now"]
    await dealer.close()
    await router.close()


async def test_a_dealer_with_the_wrong_server_key_never_connects():
    keys = generate_keys()
    router = await started({keys.public})
    dealer = Dealer("127.0.0.1", router.port, generate_keys().public, keys)
    await dealer.connect()
    with pytest.raises(TransportError, match="another coordinator"):
        await request(dealer, Request(verb="status"), 0.5)
    await dealer.close()
    await router.close()


async def test_an_admit_that_breaks_refuses():
    def broken(_key: str) -> bool:
        raise RuntimeError("no database")

    router = Router("127.0.0.1", 0, SERVER, broken)
    await router.start()
    dealer = await connected(router, generate_keys())
    with pytest.raises(TransportError):
        await request(dealer, Request(verb="status"), 0.5)
    assert router.refused >= 1
    await dealer.close()
    await router.close()


async def test_a_failing_log_does_not_lock_everybody_out(monkeypatch):
    keys = generate_keys()
    router = await started({keys.public})

    def broken(*_args, **_values):
        raise ValueError("I/O operation on closed file")

    monkeypatch.setattr("protocol.transport.zap._LOG.warning", broken, raising=False)
    stranger = await connected(router, generate_keys())

    async def refused():
        return router.refused > 0

    await until(refused)
    dealer = await connected(router, keys)
    await push(dealer, [b"in"])
    assert (await router.receive()).frames == [b"in"]
    for part in (stranger, dealer, router):
        await part.close()


async def test_plain_tcp_garbage_does_not_hurt_the_router():
    keys = generate_keys()
    router = await started({keys.public})
    _, writer = await asyncio.open_connection("127.0.0.1", router.port)
    writer.write(os.urandom(4096))
    dealer = await connected(router, keys)
    await push(dealer, [b"still here"])
    assert (await router.receive()).frames == [b"still here"]
    writer.close()
    await dealer.close()
    await router.close()


async def test_sending_to_a_peer_that_is_gone_says_so():
    keys = generate_keys()
    router = await started({keys.public})
    assert not await router.send(b"nobody", [b"x"])
    dealer = await connected(router, keys)
    await push(dealer, [b"x"])
    peer = (await router.receive()).peer
    await dealer.close()

    async def gone():
        return not await router.send(peer, [b"y"])

    await until(gone)
    await router.close()
    assert not await router.send(peer, [b"z"])


async def test_a_peer_that_does_not_read_fills_its_queue_and_never_blocks_the_router():
    keys = generate_keys()
    router = await started({keys.public})
    dealer = await connected(router, keys)
    await push(dealer, [b"x"])
    peer = (await router.receive()).peer
    full = False
    for _ in range(20_000):
        if not await router.send(peer, [bytes(10_000)]):
            full = True
            break
    assert full
    await dealer.close()
    await router.close()


async def test_a_cancelled_receive_loses_nothing():
    keys = generate_keys()
    router = await started({keys.public})
    dealer = await connected(router, keys)
    wanted = [str(n).encode() for n in range(300)]
    got = []

    async def feed() -> None:
        for item in wanted:
            await push(dealer, [item])
            await asyncio.sleep(0)

    feeder = asyncio.create_task(feed())
    async with asyncio.timeout(20):
        while len(got) < len(wanted):
            try:
                got.append((await asyncio.wait_for(router.receive(), 0.0005)).frames[0])
            except TimeoutError:
                continue
    assert got == wanted
    await feeder
    await dealer.close()
    await router.close()


async def test_nothing_is_queued_while_the_coordinator_is_away_and_it_reconnects():
    keys = generate_keys()
    router = await started({keys.public})
    dealer = await connected(router, keys)
    await push(dealer, [b"1"])
    await router.receive()
    port = router.port
    await router.close()

    async def away():
        return not await dealer.send([b"lost"])

    await until(away)
    assert not await dealer.send([b"stale"])
    again = await started({keys.public}, port=port)
    await push(dealer, [b"2"])
    assert (await again.receive()).frames == [b"2"]
    await dealer.close()
    await again.close()


async def test_a_port_in_use_is_one_sentence():
    router = await started(set())
    with pytest.raises(TransportError, match=f"port {router.port} on 127.0.0.1 is in use"):
        await started(set(), port=router.port)
    await router.close()


async def test_an_address_of_another_machine_is_one_sentence():
    with pytest.raises(TransportError, match=r"has no address 192\.0\.2\.1"):
        await started(set(), "192.0.2.1")


@pytest.mark.parametrize("codec", [MSGPACK, JSON])
async def test_a_request_gets_the_answer_that_names_it(codec):
    keys = generate_keys()
    router = await started({keys.public})
    server = asyncio.create_task(echo(router))
    dealer = await connected(router, keys)
    answer = await request(dealer, Request(verb="status"), 10, codec)
    assert answer.body == Reply(ok=True, result="fine")
    server.cancel()
    await dealer.close()
    await router.close()


async def test_a_request_is_repeated_under_the_same_id():
    keys = generate_keys()
    router = await started({keys.public})
    dealer = await connected(router, keys)
    asking = asyncio.create_task(request(dealer, Request(verb="status"), 10, id="same", resend=0.05))
    first, second = await router.receive(), await router.receive()
    ids = {decode(got.frames).envelope.id for got in (first, second)}
    assert ids == {"same"}
    await router.send(second.peer, encode(Reply(ok=True), id="1", re="other", codec=JSON))
    await router.send(second.peer, encode(Reply(ok=False), id="1", re="same", codec=JSON))
    assert (await asking).body == Reply(ok=False)
    await dealer.close()
    await router.close()


async def test_a_silent_coordinator_is_named():
    keys = generate_keys()
    router = await started({keys.public})
    dealer = await connected(router, keys)
    with pytest.raises(
        TransportError,
        match=rf"no coordinator answered at 127\.0\.0\.1:{router.port} within 0\.5 s: .*silent",
    ):
        await request(dealer, Request(verb="status"), 0.5)
    await dealer.close()
    await router.close()


async def test_nothing_listening_is_named():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    dealer = Dealer("127.0.0.1", port, SERVER.public, generate_keys())
    await dealer.connect()
    with pytest.raises(TransportError, match="nothing listens there"):
        await request(dealer, Request(verb="status"), 0.3)
    await dealer.close()


async def test_joining_introduces_the_own_key():
    one_time, own = generate_keys(), generate_keys()
    router = await started({one_time.public})
    seen = []

    def answer(message):
        seen.append(message)
        return Joined(name="h1", cluster="c")

    server = asyncio.create_task(echo(router, answer))
    joined = await join(
        "127.0.0.1", router.port, SERVER.public, one_time, own.public, role="agent", name="h1"
    )
    assert joined == Joined(name="h1", cluster="c")
    assert seen == [Join(role="agent", name="h1", public_key=own.public)]
    server.cancel()
    await router.close()


async def test_a_refused_join_carries_code_and_reason():
    one_time = generate_keys()
    router = await started({one_time.public})
    server = asyncio.create_task(echo(router, lambda _: Refused(code="join", reason="the token is used up")))
    with pytest.raises(JoinRefusedError, match="the token is used up") as caught:
        await join(
            "127.0.0.1", router.port, SERVER.public, one_time, one_time.public, role="agent", name="h1"
        )
    assert caught.value.code == "join"
    server.cancel()
    await router.close()


def test_keys_are_made_once_and_kept(tmp_path: Path):
    path = tmp_path / "a" / "b" / "keys.json"
    keys = load_or_create_keys(path)
    assert load_or_create_keys(path) == keys
    assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
    assert [p.name for p in path.parent.iterdir()] == ["keys.json"]
    assert keys.secret not in repr(keys)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path, mode: int):
    path = tmp_path / "keys.json"
    load_or_create_keys(path)
    path.chmod(mode)
    with pytest.raises(TransportError, match=rf"mode 0{mode:o}.*chmod 600"):
        load_or_create_keys(path)


@pytest.mark.parametrize("content", [b"", b"{}", b"nonsense", b'{"public":"x","secret":"y"}', b"\xff"])
def test_a_damaged_key_file_is_refused_and_left_alone(tmp_path: Path, content: bytes):
    path = tmp_path / "keys.json"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(TransportError, match="does not hold a key pair"):
        load_or_create_keys(path)
    assert path.read_bytes() == content


def test_halves_that_do_not_belong_together_are_refused(tmp_path: Path):
    path = tmp_path / "keys.json"
    one, two = generate_keys(), generate_keys()
    path.write_text(f'{{"public":"{one.public}","secret":"{two.secret}"}}')
    path.chmod(0o600)
    with pytest.raises(TransportError, match="valid key pair"):
        load_or_create_keys(path)


def test_a_token_comes_back_the_same():
    keys = generate_keys()
    token = JoinToken(server_public=SERVER.public, secret=keys.secret, public=keys.public)
    text = token.encode()
    assert text.startswith("hpg1.")
    assert JoinToken.decode(text + "\n") == token
    assert token.keys == keys
    assert keys.secret not in repr(token)


def test_a_damaged_token_is_refused():
    keys = generate_keys()
    text = JoinToken(server_public=SERVER.public, secret=keys.secret, public=keys.public).encode()
    for bad in (
        text[:-4],
        text + "AAAA",
        text[:20] + ("A" if text[20] != "A" else "B") + text[21:],
        "hpg1.é",
    ):
        with pytest.raises(SpecError, match="damaged"):
            JoinToken.decode(bad)
    with pytest.raises(SpecError, match=r"must begin with 'hpg1\.'"):
        JoinToken.decode("token")


def test_access_files_come_back_and_are_private(tmp_path: Path):
    keys = generate_keys()
    local = LocalAccess(server_public=SERVER.public, keys=keys, port=5555, address="::1", cluster="c")
    path = local_access_path(tmp_path)
    local.save(path)
    local.save(path)
    assert LocalAccess.load(path) == local
    assert path.stat().st_mode & 0o777 == 0o600
    assert keys.secret not in repr(local)
    peer = PeerAccess(
        server_public=SERVER.public, keys=keys, port=1, address="a", cluster="", name="h", joined=False
    )
    peer.save(tmp_path / "peer.json")
    assert PeerAccess.load(tmp_path / "peer.json") == peer
    path.chmod(0o644)
    with pytest.raises(TransportError, match="0644"):
        LocalAccess.load(path)
    with pytest.raises(FileNotFoundError):
        LocalAccess.load(tmp_path / "none")


def test_the_state_root_follows_the_environment(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("HPGREEDY_STATE", str(tmp_path))
    assert default_state_root() == tmp_path
    monkeypatch.delenv("HPGREEDY_STATE")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_state_root() == Path("/var/lib/hpgreedy")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", "/x")
    assert default_state_root() == Path("/x/hpgreedy")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/u")
    assert default_state_root() == Path("/home/u/.local/state/hpgreedy")
