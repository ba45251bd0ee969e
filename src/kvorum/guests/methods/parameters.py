"""The parameters of guests' methods: paths, and each setting of a configuration as its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field, create_model

from kvorum.core.errors import ParameterError
from kvorum.guests.config import options
from kvorum.interface import NodeName, Parameters, Vmid

P = TypeVar("P", bound=Parameters)


def _text(value: object) -> object:
    if isinstance(value, bool):
        return str(int(value))
    return str(value) if isinstance(value, int | float) else value


Setting = Annotated[str | None, BeforeValidator(_text)]


class GuestPath(Parameters):
    """A guest on a node."""

    node: NodeName
    vmid: Vmid


def with_settings(base: type[P]) -> type[P]:
    """The parameters of ``base`` and one for every setting (``cores``, ``scsi0``, ``net0``, …)."""
    fields: dict[str, Any] = {}
    for key in options.names():
        field = key.replace("-", "_")
        if field not in base.model_fields:
            alias = key if "-" in key else None
            fields[field] = (Setting, Field(default=None, alias=alias))
    return create_model(
        base.__name__, __base__=base, __module__=base.__module__, __doc__=base.__doc__, **fields
    )


def settings_of(parameters: Parameters, own: frozenset[str]) -> dict[str, str]:
    """The settings that were given, checked; raises ``ParameterError`` with a sentence for each wrong one."""
    given = parameters.model_dump(exclude_none=True, by_alias=True)
    result = {key: str(value) for key, value in given.items() if key not in own}
    errors = {}
    for key, value in result.items():
        try:
            options.check(key, value)
        except ValueError as error:
            errors[key] = str(error).removeprefix(f"key '{key}': ")
    if errors:
        raise ParameterError(errors)
    return result


def words(text: str | None) -> list[str]:
    """A list parameter: words separated by commas, semicolons or blanks."""
    return [word for word in re.split(r"[,;\s]+", text or "") if word]


def storage_map(text: str | None) -> Mapping[str, str]:
    """``a:b,c:d`` or one storage for all (``*``); ``1`` keeps each as it is. Raises ``ParameterError``."""
    result: dict[str, str] = {}
    for word in words(text):
        here, colon, there = word.partition(":")
        if word == "1":
            continue
        if colon and (not here or not there):
            raise ParameterError({"targetstorage": f"'{word}' is no pair; write HERE:THERE"})
        result[here if colon else "*"] = there if colon else word
    return result
