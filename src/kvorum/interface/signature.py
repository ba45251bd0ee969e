"""Reads a method's declaration off its function: the parameters' model and the result's type."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kvorum.interface.declare import Parameters


def read_signature(function: Callable[..., Any]) -> tuple[type[Parameters], Any]:
    """Return the model of the second argument and the return annotation.

    Raises ``TypeError`` when the function does not have the form ``(ctx: Context, p: SomeParameters)``.
    """
    hints = typing.get_type_hints(function, include_extras=True)
    names = list(inspect.signature(function).parameters)
    if len(names) != 2 or names[1] not in hints:
        raise TypeError(f"{function.__qualname__} must take (ctx: Context, p: Parameters)")
    return hints[names[1]], hints.get("return", type(None))
