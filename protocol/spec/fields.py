"""Field types that several specs share."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

NAME_RULE = "1 to 63 characters out of A-Z a-z 0-9 . _ -, beginning with a letter or digit"
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z"
_NAME = re.compile(NAME_PATTERN)

Name = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN, max_length=63)]
WholeId = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
ObjectId = Name | WholeId
Cpus = Annotated[int, msgspec.Meta(ge=1, le=4096)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Overcommit = Annotated[float, msgspec.Meta(ge=0.1, le=1000)]
Text = Annotated[str, msgspec.Meta(max_length=4096)]
ShortName = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
LabelValue = Annotated[str, msgspec.Meta(max_length=253)]
Mac = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f][02468ace](:[0-9a-f]{2}){5}\Z")]


def key_of(identifier: str | int) -> str:
    """The key of an id: 1 and "1" are the same object."""
    return str(identifier)


def is_name(text: str) -> bool:
    """Whether `text` may name a host, VM, image, label or resource."""
    return _NAME.match(text) is not None
