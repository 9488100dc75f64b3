"""A coordinator for tests: a real ROUTER in a thread that answers verbs out of a dict."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from protocol.codec import decode, encode, new_id
from protocol.messages import Join, Joined, Message, Refused, Reply, Request
from protocol.spec import SpecError, decode_spec
from protocol.transport.access import JoinToken, LocalAccess, local_access_path
from protocol.transport.keys import generate_keys
from protocol.transport.router import Router
from protocol.verbs import VERBS, HostView, OpView, StatusView, VmView

Answers = dict[str, Any]


class FakeCoordinator:
    """Answers each verb with the value, the callable's result for its arguments, or the Reply given."""

    def __init__(self, answers: Answers, *, drop_first: int = 0, role: str = "operator") -> None:
        self.answers = answers
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.ids: list[str] = []
        self.joins: list[Join] = []
        self.keys = generate_keys()
        self.admin = generate_keys()
        self.one_time = generate_keys()
        self.admitted = {self.admin.public, self.one_time.public}
        self._role = role
        self._drop = drop_first
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def token(self) -> str:
        one = self.one_time
        return JoinToken(server_public=self.keys.public, secret=one.secret, public=one.public).encode()

    def write_access(self, root: Path, address: str = "127.0.0.1") -> Path:
        path = local_access_path(root)
        LocalAccess(
            server_public=self.keys.public, keys=self.admin, port=self.port, address=address, cluster="test"
        ).save(path)
        return path

    def requests(self, verb: str) -> list[dict[str, Any]]:
        return [args for name, args in self.asked if name == verb]

    def __enter__(self) -> FakeCoordinator:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._main.cancel)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        self._main = task
        router = Router("127.0.0.1", 0, self.keys, lambda key: key in self.admitted)
        await router.start()
        self.port = router.port
        self._ready.set()
        try:
            while True:
                received = await router.receive()
                incoming = decode(received.frames)
                answer = self._answer(incoming.body, incoming.envelope.id, received.user_id)
                if answer is not None:
                    frames = encode(answer, id=new_id(), re=incoming.envelope.id, codec=incoming.codec)
                    await router.send(received.peer, frames)
        finally:
            await router.close()

    def _answer(self, body: Message | None, number: str, key: str) -> Message | None:
        self.ids.append(number)
        if isinstance(body, Join):
            return self._join(body, key)
        assert isinstance(body, Request)
        if self._drop > 0:
            self._drop -= 1
            return None
        try:
            decode_spec(body.args, VERBS[body.verb][0])
        except SpecError as error:
            return Reply(ok=False, code="bad_request", error=f"the client sent what no verb takes: {error}")
        self.asked.append((body.verb, body.args))
        answer = self.answers.get(body.verb, Reply(ok=False, code="not_found", error="no such verb here"))
        if callable(answer):
            answer = answer(body.args)
        if isinstance(answer, Reply):
            return answer
        return Reply(ok=True, result=msgspec.to_builtins(answer))

    def _join(self, body: Join, key: str) -> Message:
        self.joins.append(body)
        if key != self.one_time.public:
            return Refused(code="join", reason="this key may not join")
        if body.role != self._role:
            return Refused(code="join", reason=f"the token is for the role {self._role}, not {body.role}")
        self.admitted.discard(key)
        self.admitted.add(body.public_key)
        return Joined(name=body.name, cluster="test")


def in_turn(*values: Any) -> Callable[[dict[str, Any]], Any]:
    """Answers one after the other; the last one again and again."""
    rest = list(values)

    def answer(_args: dict[str, Any]) -> Any:
        return rest.pop(0) if len(rest) > 1 else rest[0]

    return answer


def make_op(number: int = 1, kind: str = "create", vm: str | None = "web-1", **more: Any) -> OpView:
    fields: dict[str, Any] = {
        "state": "queued", "done": False, "ok": None, "source": None, "target": None, "owner": "admin",
        "created": 1000.0, "updated": 1000.0,
    }  # fmt: skip
    return OpView(id=number, kind=kind, vm=vm, **{**fields, **more})


def make_vm(name: str = "web-1", **more: Any) -> VmView:
    fields: dict[str, Any] = {
        "uuid": "0b0e8f5e-0000-4000-8000-000000000001", "host": "host1", "state": "running",
        "desired": "running", "cpu": 1, "memory": 128, "max_cpu": 2, "max_memory": 256,
    }  # fmt: skip
    return VmView(id=name, **{**fields, **more})


def make_host(name: str = "host1", **more: Any) -> HostView:
    fields: dict[str, Any] = {
        "id": "a5f0c1de-0000-4000-8000-000000000001", "state": "up", "problem": "", "cpu": 8,
        "memory": 16384, "cpu_capacity": 16.0, "memory_capacity": 16384.0, "cpu_allocated": 4,
        "memory_allocated": 4096, "cpu_overcommit": 2.0, "memory_overcommit": 1.0, "cpu_percent": 12.0,
        "memory_used": 5000, "vms": 2, "address": "192.0.2.1", "hypervisor": "qemu:///system",
        "hypervisor_uuid": "b5f0c1de-0000-4000-8000-000000000001", "accelerator": "kvm",
        "accelerator_reason": "a probe guest booted",
    }  # fmt: skip
    return HostView(name=name, **{**fields, **more})


def make_status(**more: Any) -> StatusView:
    fields: dict[str, Any] = {
        "cluster": "test", "version": "0.1.0", "epoch": 1, "uptime": 61.0, "hosts": 2, "hosts_up": 1,
        "vms": 3, "vms_running": 2, "cpu_capacity": 16.0, "cpu_allocated": 4, "memory_capacity": 16384.0,
        "memory_allocated": 4096, "open_operations": 1, "queued": 0, "algorithm": "greedy",
        "problems": ("host2 is unreachable",),
    }  # fmt: skip
    return StatusView(**{**fields, **more})
