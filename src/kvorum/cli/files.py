"""Options of commands that name a file, whose content is the value."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from kvorum.cli.failures import UsageFailure

_FROM_FILE = {("qm", "sshkeys")}
"""Percent-encoded, as the API takes them."""


def contents(program: str, parameters: Mapping[str, str | list[str]]) -> dict[str, str | list[str]]:
    """The parameters, with files' contents for their names. Raises ``UsageFailure`` for what can't be
    read.
    """
    result = dict(parameters)
    for _, name in (each for each in _FROM_FILE if each[0] == program):
        value = parameters.get(name)
        if isinstance(value, str) and value:
            try:
                result[name] = quote(Path(value).read_text(), safe="")
            except (OSError, UnicodeDecodeError) as error:
                why = getattr(error, "strerror", None) or error
                raise UsageFailure(f"400 {name}: the file '{value}' can't be read: {why}") from error
    return result
