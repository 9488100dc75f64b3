"""The clients' door: requests in JSON, answered from the table of commands."""

from __future__ import annotations

import hashlib
import inspect
import time
from typing import Any

import msgspec
import structlog

from hpgreedy.coordinator.access import Caller
from hpgreedy.coordinator.acts import Started, durable
from hpgreedy.coordinator.core import Core
from hpgreedy.coordinator.table import TABLE, Verb
from hpgreedy.coordinator.views import op_view
from hpgreedy.operations import queue
from hpgreedy.operations.context import Context, Refusal
from hpgreedy.operations.records import OperationRecord, RequestRecord
from protocol.messages import Reply, Request
from protocol.spec import SpecError, decode_spec, encode_spec
from protocol.verbs import OpsStarted

_LOG = structlog.get_logger("clients")


async def answer(core: Core, caller: Caller, request_id: str, request: Request) -> Reply:
    """Answer a request; whatever goes wrong becomes a Reply that says so.

    A request that comes again is the same request, also one that was refused.
    """
    verb = TABLE.get(request.verb)
    content = hashlib.sha256(msgspec.msgpack.encode(request)).hexdigest()
    return await core.answers.once(
        f"{caller.public_key}:{request_id}:{content}",
        time.monotonic,
        # To look again does no harm, and what was seen may be long.
        keep=verb is None or verb.role != "viewer",
        work=lambda: _answer(core, caller, request_id, request),
    )


async def _answer(core: Core, caller: Caller, request_id: str, request: Request) -> Reply:
    try:
        verb = _verb(caller, request)
        ask = decode_spec(request.args, verb.request)
        result = await _run(core, caller, request_id, verb, ask)
    except Refusal as refusal:
        if refusal.code == "forbidden":
            core.refused["forbidden"] += 1
            _LOG.warning("forbidden", caller=caller.name, verb=request.verb, reason=refusal.message)
        return Reply(
            ok=False,
            code=refusal.code,
            error=refusal.message,
            field=refusal.field,
            details=encode_spec(refusal.details),
        )
    except SpecError as error:
        return Reply(ok=False, code="bad_request", error=error.message, field=error.field)
    except Exception:
        _LOG.exception("a handler failed", verb=request.verb, request=request_id)
        return Reply(
            ok=False,
            code="failed",
            error=f"the coordinator failed while it answered {request.verb}; "
            "its log has the details, and nothing was accepted",
        )
    return Reply(ok=True, result=encode_spec(result))


def _verb(caller: Caller, request: Request) -> Verb:
    verb = TABLE.get(request.verb)
    if verb is None:
        raise Refusal(
            "bad_request", f"verb is {request.verb[:80]!r}; known are {', '.join(sorted(TABLE))}", "verb"
        )
    if not caller.may(verb.role):
        raise Refusal(
            "forbidden",
            f"{request.verb} needs the role {verb.role}; {caller.name} has the role {caller.role}",
        )
    return verb


async def _run(core: Core, caller: Caller, request_id: str, verb: Verb, ask: Any) -> Any:
    key = f"{caller.public_key}:{verb.name}:{request_id}"
    known = core.world.requests.get(key)
    if known is not None:
        await core.committer.drained()
        return _started(core, known)
    core.engine.awake(core.now())
    result = verb.handler(core, caller, ask)
    if inspect.isawaitable(result):
        result = await result
    if isinstance(result, Started):
        return await _accept(core, key, result, caller.name)
    return result


async def _accept(core: Core, key: str, started: Started, by: str) -> OpsStarted:
    """Begin operations; returns once they and the request's id are on disk."""
    accepted: list[RequestRecord] = []

    def act(ctx: Context) -> None:
        ops: tuple[OperationRecord, ...] = started.act(ctx)
        record = RequestRecord(
            at=ctx.now.wall, operations=tuple(op.id for op in ops), notes=(*started.notes, *ctx.notes)
        )
        ctx.put_request(key, record)
        accepted.append(record)

    await durable(core, act, by)
    answer = _started(core, accepted[0])
    return msgspec.structs.replace(answer, placements=tuple(started.placements))


def _started(core: Core, record: RequestRecord) -> OpsStarted:
    ops, now = (core.world.operations.get(number) for number in record.operations), core.now()
    return OpsStarted(
        operations=tuple(
            op_view(op, core.engine.progress.get(op.id), waits_for=queue.told(core.world, op, now))
            for op in ops
            if op is not None
        ),
        notes=record.notes,
    )
