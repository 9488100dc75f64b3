"""How a program's own key becomes known to the coordinator."""

from __future__ import annotations

from protocol.codec import MSGPACK
from protocol.messages import Join, Joined, Refused, Role
from protocol.transport.dealer import Dealer, request
from protocol.transport.errors import TransportError
from protocol.transport.keys import KeyPair


class JoinRefusedError(TransportError):
    """The coordinator answered that this key or name may not join; `code` is the coordinator's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


async def join(
    address: str,
    port: int,
    server_public: str,
    introducer: KeyPair,
    own_public: str,
    *,
    role: Role,
    name: str,
    timeout: float = 10.0,  # noqa: ASYNC109
) -> Joined:
    """Introduce `own_public` with a token's or the local admin's key; `timeout` in seconds.

    Raises JoinRefusedError when the coordinator says no, TransportError when it does not answer.
    """
    dealer = Dealer(address, port, server_public, introducer)
    await dealer.connect()
    try:
        message = Join(role=role, name=name, public_key=own_public)
        answer = (await request(dealer, message, timeout, MSGPACK)).body
    finally:
        await dealer.close()
    if isinstance(answer, Joined):
        return answer
    if isinstance(answer, Refused):
        raise JoinRefusedError(answer.code, f"the coordinator refused the join: {answer.reason}")
    raise TransportError(
        f"the coordinator at {address}:{port} answered a join with something else; update both"
    )
