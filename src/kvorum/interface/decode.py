"""From what a client sent to the parameters a method is called with.

Query, form and JSON body all become one sequence of (name, text) pairs first, so that a value means the
same however it came. A parameter that stands in the path may come again with the same value. Every wrong
parameter is named, each with one sentence.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias, Union
from urllib.parse import parse_qsl

import msgspec
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from kvorum.core.errors import ParameterError
from kvorum.interface.declare import Parameters

Pairs: TypeAlias = Sequence[tuple[str, str]]

MAX_PARAMETERS = 4096
"""More than any method has; a longer list is refused before it is looked at."""


def read_form(text: str) -> Pairs:
    """Read a query string or form body (WHATWG ``application/x-www-form-urlencoded``).

    Raises ``ParameterError`` when it has more than ``MAX_PARAMETERS`` parameters.
    """
    if not text:
        return ()
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError as error:
        raise ParameterError({}, f"the parameters can't be read: {error}") from None


def read_json(body: bytes) -> Pairs:
    """Read a JSON object as pairs: arrays repeat their name, booleans are 1 and 0, ``null`` is left out.

    Raises ``ParameterError`` for what is no JSON object or nests objects.
    """
    if not body.strip():
        return ()
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ParameterError({}, f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ParameterError({}, "the body must be a JSON object of parameters")
    pairs: list[tuple[str, str]] = []
    for name, item in value.items():
        for part in item if isinstance(item, list) else [item]:
            if isinstance(part, dict | list):
                raise ParameterError({name: "must be a plain value or an array of such, not a nested object"})
            if part is not None:
                pairs.append((name, _text(part)))
    if len(pairs) > MAX_PARAMETERS:
        raise ParameterError({}, f"at most {MAX_PARAMETERS} parameters are allowed")
    return pairs


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


class Decoder:
    """Turns pairs into one method's parameters; what can be known beforehand is, once per method."""

    def __init__(self, model: type[Parameters]) -> None:
        self._model = model
        self._sequences: frozenset[str] = frozenset(
            field.alias or name
            for name, field in model.model_fields.items()
            if _is_sequence(field.annotation)
        )
        self._empty = model() if not model.model_fields else None

    def decode(self, path: Mapping[str, str], given: Pairs = ()) -> Parameters:
        """Build the model from the path's and the other parameters.

        Raises ``ParameterError`` with a sentence for each parameter that is unknown, missing, wrong, or
        given twice with different values.
        """
        if self._empty is not None and not given and not path:
            return self._empty
        values = self._gather(path, given)
        try:
            return self._model.model_validate(values)
        except ValidationError as error:
            raise ParameterError(_sentences(error.errors(include_url=False))) from None

    def _gather(self, path: Mapping[str, str], given: Iterable[tuple[str, str]]) -> dict[str, object]:
        values: dict[str, object] = dict(path)
        wrong: dict[str, str] = {}
        for name, text in given:
            if name in self._sequences:
                present = values.setdefault(name, [])
                assert isinstance(present, list)
                present.append(text)
            elif name not in values:
                values[name] = text
            elif values[name] != text:
                where = "in the path" if name in path else "before"
                wrong[name] = (
                    f"duplicate parameter: already defined {where} as '{values[name]}', conflicting values"
                )
        if wrong:
            raise ParameterError(wrong)
        return values


def _is_sequence(annotation: object) -> bool:
    """Whether a field takes several values, looking through ``Annotated`` and ``| None``."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _is_sequence(typing.get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return any(_is_sequence(part) for part in typing.get_args(annotation))
    kind = origin or annotation
    return (
        isinstance(kind, type) and issubclass(kind, Sequence | set | frozenset) and not issubclass(kind, str)
    )


def _sentences(errors: Iterable[ErrorDetails]) -> dict[str, str]:
    found: dict[str, str] = {}
    for error in errors:
        name = str(error["loc"][0]) if error["loc"] else "parameters"
        found.setdefault(name, _sentence(error))
    return found


def _sentence(error: ErrorDetails) -> str:
    """One sentence for one of pydantic's findings, in the words users of the API know."""
    kind, given, context = error["type"], error.get("input"), error.get("ctx", {})
    match kind:
        case "missing":
            return "property is missing and it is not optional"
        case "extra_forbidden":
            return "property is not defined in schema and the schema does not allow additional properties"
        case "int_parsing" | "int_type" | "int_from_float":
            return f"type check ('integer') failed - got '{given}'"
        case "float_parsing" | "float_type":
            return f"type check ('number') failed - got '{given}'"
        case "bool_parsing" | "bool_type":
            return f"type check ('boolean') failed - got '{given}'"
        case "literal_error" | "enum":
            return f"value '{given}' is not one of {context.get('expected')}"
        case "greater_than_equal":
            return f"value '{given}' must have a minimum value of {context.get('ge')}"
        case "less_than_equal":
            return f"value '{given}' must have a maximum value of {context.get('le')}"
        case "string_too_long":
            return f"value may only be {context.get('max_length')} characters long"
        case "string_too_short":
            return f"value must be at least {context.get('min_length')} characters long"
        case "string_pattern_mismatch":
            return f"value '{given}' does not match the pattern '{context.get('pattern')}'"
        case "value_error":
            return str(context.get("error", error["msg"]))
        case _:
            return error["msg"]
