"""Parameter types that the known clients write in forms of their own.

A ``-list`` format takes several values in one text; the separators are comma, semicolon, NUL and blanks.
An array repeats its key instead. Both arrive here as a sequence of texts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import BeforeValidator

_SEPARATOR = re.compile(r"[,;\0\s]+")


def split_list(text: str) -> list[str]:
    """Split the text of a ``-list`` parameter into its values; empty ones are dropped."""
    return [part for part in _SEPARATOR.split(text) if part]


def _split_each(value: object) -> object:
    if isinstance(value, str):
        return split_list(value)
    if isinstance(value, Sequence):
        return [part for item in value for part in (split_list(item) if isinstance(item, str) else [item])]
    return value


TextList = Annotated[tuple[str, ...], BeforeValidator(_split_each)]
"""A ``-list`` parameter: ``a,b;c d`` becomes ``("a", "b", "c", "d")``."""
