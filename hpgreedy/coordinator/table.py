"""The table of commands: for each verb its request, its response, the role it needs and its handler.

Every door of the coordinator is made from this table.
"""

from __future__ import annotations

from typing import Any

import msgspec

from hpgreedy.coordinator import handlers, submitting
from protocol.verbs import VERBS, Ask


class Verb(msgspec.Struct, frozen=True):
    """A row of the table. `role` = the least role that may use it."""

    name: str
    request: type[Ask]
    response: Any
    role: str
    handler: handlers.Handler


_ROWS: dict[str, tuple[str, handlers.Handler]] = {
    "submit": ("user", submitting.submit),
    "place": ("user", submitting.place),
    "flush": ("operator", handlers.flush),
    "vm.list": ("viewer", handlers.vm_list),
    "vm.show": ("viewer", handlers.vm_show),
    "vm.delete": ("user", handlers.vm_delete),
    "vm.start": ("user", handlers.vm_start),
    "vm.stop": ("user", handlers.vm_stop),
    "vm.migrate": ("operator", handlers.vm_migrate),
    "vm.adopt": ("operator", handlers.vm_adopt),
    "vm.console_log": ("user", handlers.vm_console_log),
    "host.list": ("viewer", handlers.host_list),
    "host.show": ("viewer", handlers.host_show),
    "op.list": ("viewer", handlers.op_list),
    "op.show": ("viewer", handlers.op_show),
    "op.cancel": ("user", handlers.op_cancel),
    "op.retry": ("user", handlers.op_retry),
    "image.list": ("viewer", handlers.image_list),
    "image.begin": ("operator", handlers.image_begin),
    "image.write": ("operator", handlers.image_write),
    "image.finish": ("operator", handlers.image_finish),
    "image.delete": ("operator", handlers.image_delete),
    "token.create": ("admin", handlers.token_create),
    "algorithm.list": ("viewer", handlers.algorithm_list),
    "status": ("viewer", handlers.status),
    "export": ("viewer", handlers.export),
}

TABLE: dict[str, Verb] = {
    name: Verb(name, *VERBS[name], role, handler) for name, (role, handler) in _ROWS.items()
}
