"""Results without lines around them: a text as it is, and ``key: value``."""

from __future__ import annotations

from kvorum.cli.arguments import Presentation
from kvorum.cli.output.boxes import cell, table


def text(value: object, shown: Presentation) -> str:
    """A text as it came."""
    return "" if value is None else str(value)


def key_value(value: object, shown: Presentation) -> str:
    """An object as ``key: value`` lines, sorted; anything else as a table."""
    if not isinstance(value, dict):
        return table(value, shown)
    return "".join(f"{key}: {cell(item)}\n" for key, item in sorted(value.items()) if item is not None)


def generic(value: object, shown: Presentation) -> str:
    """What a command without a form of its own prints: rows as a table, an object as ``key: value``."""
    return key_value(value, shown) if isinstance(value, dict) else table(value, shown)
