"""Asking the coordinator: one verb at a time, the same request again on silence."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import msgspec

from hpgreedy.client.access import DEFAULT_PORT, Keys, Route
from hpgreedy.client.arguments import Address, Common
from hpgreedy.client.errors import InputError, RejectedError, UnreachableError, UsageError
from protocol.codec import JSON, LIMIT, CodecError, encode, new_id
from protocol.messages import Refused, Reply, Request, Role
from protocol.transport.access import PeerAccess
from protocol.transport.dealer import Dealer, request
from protocol.transport.errors import TransportError
from protocol.verbs import Ask

T = TypeVar("T")
PATIENCE = 10.0
_PATIENCE = {"submit": 60.0, "place": 60.0, "image.write": 60.0, "image.finish": 600.0}


class Asker(Protocol):
    """What verbs need of a connection."""

    def ask(self, verb: str, args: Ask, kind: type[T]) -> T:
        """Ask for a verb and read its answer as `kind`. Raises RejectedError and UnreachableError."""


class Connection:
    """A connection to the coordinator that is opened by the first request and heals itself."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self._runner = asyncio.Runner()
        self._dealer: Dealer | None = None

    def ask(self, verb: str, args: Ask, kind: type[T]) -> T:
        """Ask for a verb and read its answer as `kind`.

        The request's id stays the same when it is sent again, so that nothing happens twice. Raises
        RejectedError when the coordinator says no, UnreachableError when it does not answer.
        """
        message = Request(verb=verb, args=msgspec.to_builtins(args, enc_hook=_enc_hook))
        number = new_id()
        _check_size(message, number)
        reply = self._run(self._request(verb, message, number))
        if not reply.ok:
            error = reply.error or f"{verb} was refused"
            raise RejectedError(reply.code or "failed", error, reply.field, reply.details)
        try:
            return msgspec.convert(reply.result, kind)
        except msgspec.ValidationError as error:
            raise UnreachableError(
                f"the coordinator's answer to {verb} cannot be read ({error}); update the older of the two"
            ) from error

    def close(self) -> None:
        """Close; may be called twice."""
        if self._dealer is not None:
            self._run(self._dealer.close())
            self._dealer = None
        self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    async def _request(self, verb: str, message: Request, number: str) -> Reply:
        try:
            if self._dealer is None:
                where = self.route
                self._dealer = Dealer(where.address, where.port, where.server_public, where.keys)
                await self._dealer.connect()
            patience = _PATIENCE.get(verb, PATIENCE)
            answer = (await request(self._dealer, message, patience, JSON, id=number)).body
        except TransportError as error:
            raise UnreachableError(str(error)) from error
        except CodecError as error:
            raise UnreachableError(f"the coordinator's answer to {verb} cannot be read: {error}") from error
        if isinstance(answer, Refused):
            raise RejectedError(answer.code, answer.reason)
        if not isinstance(answer, Reply):
            raise UnreachableError(
                f"the coordinator answered {verb} with something else; update the older of the two"
            )
        return answer


def open_connection(common: Common, address: Address | None) -> Connection:
    """The connection that the command line asks for; joins first when a token is given."""
    _quiet_logs()
    keys = Keys(common.state)
    if common.join is not None:
        run_join(common, address, common.join, None, again=False)
        assert address is not None
        address = Address(address.host, address.port or DEFAULT_PORT)
        return Connection(keys.joined_route(address))
    return Connection(keys.route(address))


def run_join(
    common: Common, address: Address | None, token: str, role: Role | None, *, again: bool
) -> PeerAccess:
    """Join with a token and keep the key. Raises ClientError."""
    _quiet_logs()
    if address is None or not address.host:
        raise UsageError("joining needs the coordinator's address before the verb, or with --to", "address")
    with asyncio.Runner() as runner:
        return runner.run(Keys(common.state).join(address, token, role, again))


def _check_size(message: Request, number: str) -> None:
    size = len(encode(message, id=number, codec=JSON)[1])
    if size > LIMIT:
        raise InputError(
            f"the request is {size} bytes and the coordinator reads at most {LIMIT} bytes at once; "
            "submit the VMs in several smaller files"
        )


def _enc_hook(value: object) -> object:
    from protocol.spec import Memory

    if isinstance(value, Memory):
        return value.to_json()
    raise NotImplementedError(type(value))


def _quiet_logs() -> None:
    import logging

    import structlog

    # The transport's log lines would land between the lines of an answer.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
