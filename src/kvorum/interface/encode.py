"""From what a method returns to the JSON the known clients read.

Booleans are 1 and 0, an absent value is left out instead of ``null``, enumerations are their value. Methods
return pydantic models, dataclasses, msgspec structs, TypedDicts or plain values, nested as they like.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Generic, TypeVar

import msgspec
from pydantic import BaseModel

T = TypeVar("T")

_AS_IS = frozenset({str, int, float, type(None)})
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a longer list: ``total``, the length of the whole, is shown beside ``data``.

    So is what stands in ``beside``.
    """

    rows: Sequence[T]
    total: int
    beside: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Encoded(Generic[T]):
    """A result that is JSON already, just as ``to_json(plain(...))`` would have made it of a ``T``.

    For long lists whose rows are kept encoded: they go into the answer as they are.
    """

    json: bytes

    @classmethod
    def rows(cls, rows: Iterable[bytes]) -> Encoded[T]:
        """A list of rows that are JSON each."""
        return cls(b"[%s]" % b",".join(rows))


@dataclass(frozen=True, slots=True)
class Download(Generic[T]):
    """A result that is a file of this node, which goes to the client as it is.

    With ``shown`` the JSON formats show that instead, and the file comes by its own format (``png``).
    """

    path: PurePath
    content_type: str
    name: str
    """What the client's browser calls it."""
    shown: T | None = None


@dataclass(frozen=True, slots=True)
class ViewerFile(Generic[T]):
    """A result that a remote viewer opens as a file of settings; the format ``spiceconfig`` answers with that
    file, the JSON formats show its keys."""

    shown: T
    name: str
    """What the client's browser calls it."""


def plain(value: object) -> object:
    """Turn a result into dicts, lists, texts and numbers; raises ``TypeError`` for what has no JSON form."""
    kind = value.__class__
    if kind in _AS_IS:
        return value
    if kind is dict:
        return _object(value)  # type: ignore[arg-type]  # its class was just looked at
    if kind is bool:
        return int(value)  # type: ignore[call-overload]
    if isinstance(value, list | tuple | AbstractSet):
        return [item if item.__class__ in _AS_IS else plain(item) for item in value]
    if isinstance(value, msgspec.Struct):
        names = zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
        return _object({shown: getattr(value, name) for shown, name in names})
    if isinstance(value, Encoded):
        return msgspec.json.decode(value.json)
    if isinstance(value, BaseModel):
        return _object(value.model_dump(by_alias=True))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _object({field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, str | PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return _object(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [plain(item) for item in value]
    if isinstance(value, int | float):
        return value
    raise TypeError(f"{kind.__name__} has no JSON form")


def _object(value: Mapping[str, object]) -> dict[str, object]:
    return {
        key: item if item.__class__ in _AS_IS else plain(item)
        for key, item in value.items()
        if item is not None
    }


def to_json(value: object) -> bytes:
    """Encode what ``plain`` returned, in UTF-8."""
    return _encoder.encode(value)


def success(result: object) -> dict[str, object]:
    """The body of a successful answer: ``data``, and for a ``Page`` its ``total``."""
    if isinstance(result, Page):
        return {"data": plain(result.rows), "total": result.total, **result.beside}
    if isinstance(result, Encoded):
        return {"data": msgspec.Raw(result.json)}
    if isinstance(result, Download | ViewerFile):
        return {"data": plain(result.shown)}
    return {"data": plain(result)}
