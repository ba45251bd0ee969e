"""The JSON schema of what a method answers, from its annotated result type. Pure.

It describes what ``encode.plain`` makes of a value, which no library's schema does: booleans are 0 and 1, and
what is ``None`` inside an object is left out.
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Mapping
from collections.abc import Sequence as AbstractSequence
from collections.abc import Set as AbstractSet
from typing import Any, Union

import msgspec
from pydantic import BaseModel

from kvorum.interface.declare import Work
from kvorum.interface.encode import Download, Encoded, Page, ViewerFile

Schema = dict[str, Any]

_PLAIN: Mapping[object, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "integer", "enum": [0, 1]},
    type(None): {"type": "null"},
}
UPID: Schema = {"type": "string", "pattern": "^UPID:", "description": "The id of the task that was begun."}


def result_schema(result: Any) -> Schema:
    """The schema of ``data`` for a method with this return type; an empty one where anything may come."""
    if result is Work:
        return dict(UPID)
    if result in _PLAIN:
        return dict(_PLAIN[result])
    origin, parts = typing.get_origin(result), typing.get_args(result)
    if origin in (typing.Annotated, Encoded, Download, ViewerFile):
        return result_schema(parts[0])
    if origin is typing.Literal:
        return {"enum": list(parts)}
    if origin in (Union, types.UnionType):
        shown = [part for part in parts if not is_download(part)]
        schemas = [result_schema(part) for part in shown]
        return {"anyOf": schemas} if len(schemas) > 1 else schemas[0]
    if typing.is_typeddict(result):
        return _typed_dict(result)
    kind = origin or result
    if not isinstance(kind, type):
        return {}
    return _class(kind, parts)


def is_page(result: Any) -> bool:
    """Whether the answer has ``total`` beside ``data``."""
    return any((typing.get_origin(part) or part) is Page for part in _alternatives(result))


def is_download(result: Any) -> bool:
    """Whether the answer may be a file instead of JSON."""
    return any((typing.get_origin(part) or part) is Download for part in _alternatives(result))


def is_picture(result: Any) -> bool:
    """Whether the answer may be a picture: a file that the JSON formats only name."""
    return any(
        typing.get_origin(part) is Download and typing.get_args(part) != (types.NoneType,)
        for part in _alternatives(result)
    )


def is_viewer_file(result: Any) -> bool:
    """Whether the answer is a file for a remote viewer."""
    return typing.get_origin(result) is ViewerFile


def _alternatives(result: Any) -> tuple[Any, ...]:
    union = typing.get_origin(result) in (Union, types.UnionType)
    return typing.get_args(result) if union else (result,)


def _class(kind: type, parts: tuple[Any, ...]) -> Schema:
    if issubclass(kind, enum.Enum):
        return {"enum": [member.value for member in kind]}
    if issubclass(kind, BaseModel):
        hints = {f.serialization_alias or f.alias or n: f.annotation for n, f in kind.model_fields.items()}
        return _object(hints, frozenset(hints))
    if issubclass(kind, msgspec.Struct):
        hints = typing.get_type_hints(kind)
        names = zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True)
        return _object(
            {shown: hints[name] for shown, name in names}, frozenset(kind.__struct_encode_fields__)
        )
    if issubclass(kind, Page):
        return {"type": "array", "items": result_schema(parts[0]) if parts else {}}
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        names_of = [field.name for field in dataclasses.fields(kind)]
        return _object({name: hints[name] for name in names_of}, frozenset(names_of))
    if issubclass(kind, Mapping):
        return {"type": "object", "additionalProperties": result_schema(parts[1]) if len(parts) == 2 else {}}
    if issubclass(kind, AbstractSequence | AbstractSet) and not issubclass(kind, str | bytes):
        return {"type": "array", "items": result_schema(parts[0]) if parts else {}}
    return {"type": "string"} if issubclass(kind, str) else {}


def _typed_dict(kind: Any) -> Schema:
    """Its keys; which ones may be missing is read off the hints, since ``__required_keys__`` is wrong where
    annotations are postponed (typing, ``TypedDict``)."""
    hints = typing.get_type_hints(kind, include_extras=True)
    given = {name: typing.get_origin(hint) for name, hint in hints.items()}
    optional = {name for name, origin in given.items() if origin is typing.NotRequired}
    if not kind.__total__:
        optional |= {name for name, origin in given.items() if origin is not typing.Required}
    plain = {
        name: typing.get_args(hint)[0] if given[name] in (typing.NotRequired, typing.Required) else hint
        for name, hint in hints.items()
    }
    return _object(plain, frozenset(plain.keys() - optional))


def _object(hints: Mapping[str, Any], named: frozenset[str]) -> Schema:
    """An object; a value that may be ``None`` may be missing, and is then no ``null``."""
    required, properties = [], {}
    for name, hint in hints.items():
        parts = typing.get_args(hint) if typing.get_origin(hint) in (Union, types.UnionType) else (hint,)
        present = [part for part in parts if part is not type(None)]
        if len(present) == 1:
            properties[name] = result_schema(present[0])
        else:
            properties[name] = {"anyOf": [result_schema(part) for part in present]}
        if name in named and len(present) == len(parts):
            required.append(name)
    schema: Schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    return schema
