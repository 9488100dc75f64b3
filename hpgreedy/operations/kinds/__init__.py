"""One small file per kind of operation, and the table of them."""

from hpgreedy.operations.kinds import adopt, create, delete, image, migrate, power
from hpgreedy.operations.kinds.base import Kind

TABLE: dict[str, Kind] = {
    "create": create.KIND,
    "delete": delete.KIND,
    "migrate": migrate.KIND,
    "start": power.START,
    "stop": power.STOP,
    "adopt": adopt.KIND,
    "delete_image": image.KIND,
}

__all__ = ["TABLE", "Kind"]
