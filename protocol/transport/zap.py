"""The authenticator that decides which keys may talk at all (ZeroMQ RFC 27)."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog
import zmq
import zmq.asyncio
from zmq.utils import z85

_LOG = structlog.get_logger("transport")
ENDPOINT = "inproc://zeromq.zap.01"
QUIET_SECONDS = 60.0
_MAX_REMEMBERED = 1_000


class Authenticator:
    """Answers ZAP requests: a public key (z85) that `admit` allows becomes the connection's User-Id.

    A refused peer hears nothing; `refused` counts them and the log names each key once a minute.
    """

    def __init__(
        self,
        context: zmq.asyncio.Context,
        admit: Callable[[str], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.refused = 0
        self._admit = admit
        self._clock = clock
        self._logged: dict[str, float] = {}
        self._socket: zmq.asyncio.Socket = context.socket(zmq.REP)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(ENDPOINT)

    async def run(self) -> None:
        """Answer until cancelled."""
        while True:
            request = await self._socket.recv_multipart()
            try:
                answer = self.answer(request)
            except Exception:
                # Without an answer the socket would be stuck, and nobody could connect any more.
                answer = [b"1.0", request[1] if len(request) > 1 else b"", b"500", b"failed", b"", b""]
            await self._socket.send_multipart(answer)

    def close(self) -> None:
        """Close the socket; new connections are then refused."""
        self._socket.close(0)

    def answer(self, request: list[bytes]) -> list[bytes]:
        """The reply to one ZAP request."""
        number = request[1] if len(request) > 1 else b""
        well_formed = len(request) == 7 and request[0] == b"1.0" and len(request[6]) == 32
        if well_formed and request[5] == b"CURVE":
            key = z85.encode(request[6]).decode()
            if self._allowed(key):
                return [b"1.0", number, b"200", b"OK", key.encode(), b""]
        else:
            key = "none"
        self._refuse(key, request[3].decode("ascii", "replace") if len(request) > 3 else "")
        return [b"1.0", number, b"400", b"refused", b"", b""]

    def _allowed(self, key: str) -> bool:
        try:
            return self._admit(key)
        except Exception:
            _LOG.exception("the check of a key failed; the key is refused", key=key)
            return False

    def _refuse(self, key: str, address: str) -> None:
        self.refused += 1
        now = self._clock()
        last = self._logged.get(key)
        if last is not None and now - last < QUIET_SECONDS:
            return
        if len(self._logged) >= _MAX_REMEMBERED:
            self._logged = {known: at for known, at in self._logged.items() if now - at < QUIET_SECONDS}
            if len(self._logged) >= _MAX_REMEMBERED:
                return
        self._logged[key] = now
        _LOG.warning("refused an unknown key", key=key, address=address, refused=self.refused)
