"""From a command line's words to a method's parameters. Pure.

``--name value``, ``-name value`` and ``--name=value`` mean the same; a boolean may stand bare or with 0/1
(on, off, yes, no, true, false); an array's name is repeated; ``--`` ends the options. What the values must
look like is judged by the daemon, once, for all ways in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kvorum.cli.failures import UsageFailure
from kvorum.cli.table import Entry, MethodEntry, Parameter

_TRUE = frozenset(("1", "on", "yes", "true"))
_FALSE = frozenset(("0", "off", "no", "false"))
FORMATS = ("text", "json", "json-pretty", "yaml")


@dataclass(frozen=True, slots=True)
class Presentation:
    """How a result is to be shown; from options that every command takes."""

    format: str = "text"
    border: bool = True
    header: bool = True
    human_readable: bool = True
    quiet: bool = False
    verbose: bool = False
    box: bool = True
    """Whether the terminal can show Unicode's box lines."""
    columns: tuple[str, ...] = ()
    """The columns of the result in their declared order, where known."""


_SWITCHES = {
    "noborder": ("border", False),
    "noheader": ("header", False),
    "human-readable": ("human_readable", True),
    "quiet": ("quiet", True),
    "verbose": ("verbose", True),
}


@dataclass(slots=True)
class Given:
    """What a command line gave: parameters as texts, and how to show the result."""

    parameters: dict[str, str | list[str]] = field(default_factory=dict)
    presentation: Presentation = field(default_factory=Presentation)
    positions: list[str] = field(default_factory=list)


def parse(entry: Entry, words: list[str], defaults: Mapping[str, str] | None = None) -> Given:
    """Read a command's words; ``defaults`` fill placeholders of the path that were not given (``node``).

    Raises ``UsageFailure`` for unknown options, missing values, and too many or too few arguments.
    """
    given = read_words(entry.method, words, entry.name)
    _take_positions(entry, given)
    for name, value in entry.fixed.items():
        given.parameters[name] = value
    for name, value in (defaults or {}).items():
        if f"{{{name}}}" in entry.method.path:
            given.parameters.setdefault(name, value)
    return given


def read_words(method: MethodEntry, words: list[str], about: str = "") -> Given:
    """Read options; what is none of them is left in ``positions``, in order. Raises ``UsageFailure``."""
    given, rest = Given(), list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            given.positions += rest
            break
        if not word.startswith("-") or word == "-" or word[1:2].isdigit():
            given.positions.append(word)
            continue
        name, equals, text = word.lstrip("-").partition("=")
        if (parameter := method.parameter(name)) is not None:
            value = text if equals else _value(parameter, name, rest, about)
            _put(given, parameter, name, value, about)
        else:
            given.presentation = _present(given.presentation, name, text if equals else None, rest, about)
    return given


def _value(parameter: Parameter, name: str, rest: list[str], about: str) -> str:
    """Take an option's value from the words after it; a bare boolean is 1."""
    if parameter.type == "boolean":
        return rest.pop(0) if rest and rest[0].lower() in _TRUE | _FALSE else "1"
    if not rest:
        raise UsageFailure(f"400 option '{name}' requires an argument", about)
    return rest.pop(0)


def _put(given: Given, parameter: Parameter, name: str, value: str, about: str) -> None:
    """Note an option's value; arrays collect theirs, anything else may come once."""
    if parameter.type == "boolean":
        value = "1" if value.lower() in _TRUE else "0" if value.lower() in _FALSE else value
    present = given.parameters.get(name)
    if parameter.type == "array":
        given.parameters[name] = [*(present if isinstance(present, list) else []), value]
    elif present is not None:
        raise UsageFailure(f"400 option '{name}' is given twice", about)
    else:
        given.parameters[name] = value


def _present(
    presentation: Presentation, name: str, value: str | None, rest: list[str], about: str
) -> Presentation:
    """Read one of the options that every command takes; raises ``UsageFailure`` when it is none."""
    if name == "output-format":
        text = value if value is not None else rest.pop(0) if rest else ""
        if text not in FORMATS:
            raise UsageFailure(f"400 output-format '{text}' is not one of {', '.join(FORMATS)}", about)
        return replace(presentation, format=text)
    if name in _SWITCHES:
        attribute, when_on = _SWITCHES[name]
        if value is None and rest and rest[0].lower() in _TRUE | _FALSE:
            value = rest.pop(0)
        on = value is None or value.lower() in _TRUE
        changed: dict[str, Any] = {attribute: when_on if on else not when_on}
        return replace(presentation, **changed)
    raise UsageFailure(f"Unknown option: {name}\n400 unable to parse option", about)


def _take_positions(entry: Entry, given: Given) -> None:
    """Give the words without a dash to the command's arguments, in order."""
    words = given.positions
    for index, argument in enumerate(entry.arguments):
        name = argument.removesuffix("...")
        if name in given.parameters:
            raise UsageFailure(f"400 '{name}' is given by position; leave --{name} out", entry.name)
        parameter = entry.method.parameter(name)
        if argument.endswith("..."):
            rest = words[index:]
            as_array = parameter is not None and parameter.type == "array"
            if rest:
                given.parameters[name] = list(rest) if as_array else " ".join(rest)
            elif parameter is not None and parameter.required:
                raise UsageFailure("400 not enough arguments", entry.name)
            return
        if index >= len(words):
            if parameter is None or (parameter.required and not parameter.ask):
                raise UsageFailure("400 not enough arguments", entry.name)
            return
        as_array = parameter is not None and parameter.type == "array"
        given.parameters[name] = [words[index]] if as_array else words[index]
    if len(words) > len(entry.arguments):
        raise UsageFailure("400 too many arguments", entry.name)
