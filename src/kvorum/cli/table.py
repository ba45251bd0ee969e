"""The table of commands and methods, as ``commands.json`` holds it; generated, see ``generate``.

    {"methods":  {"GET /nodes/{node}/qemu": {"summary", "parameters", "task", "columns"}},
     "commands": {"qm": {"list": {"method": "GET /nodes/{node}/qemu", "arguments", "output", "fixed"}}},
     "aliases":  {"qm": {"importdisk": "disk import"}}}

Only what a command line names is unpacked: reading the table must cost a command nearly nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kvorum.cli.failures import UsageFailure

FILE = Path(__file__).with_name("commands.json")


@dataclass(frozen=True, slots=True)
class Confirm:
    """How a value is proposed: ``method`` (``GET /path``) is called with the parameters named in ``given``.

    ``show`` says what it found (``{value}``, and the given ones by name), ``ask`` is the yes-or-no question.
    ``accepted`` is what the parameter becomes at a yes: what was found, or a fixed text.
    """

    method: str
    given: tuple[str, ...]
    show: str
    ask: str
    accepted: str = "{value}"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: ``type`` is string, integer, number, boolean or array.

    ``ask`` is the question to put when it is missing (a password), ``ask_again`` the one to confirm it with;
    ``confirm`` says how to propose a value that somebody at the terminal may accept. Neither is done when one
    of the parameters in ``unless`` is given.
    ``count`` is not 0 for a numbered family such as ``net[n]``.
    """

    name: str
    type: str = "string"
    required: bool = False
    description: str = ""
    default: object = None
    enum: tuple[str, ...] = ()
    ask: str = ""
    ask_again: str = ""
    confirm: Confirm | None = None
    unless: tuple[str, ...] = ()
    count: int = 0


@dataclass(frozen=True, slots=True)
class MethodEntry:
    """One method of the API."""

    verb: str
    path: str
    summary: str = ""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    task: bool = False
    columns: tuple[str, ...] = ()
    open: bool = False
    """Whether parameters that are not listed may be given."""

    def parameter(self, name: str) -> Parameter | None:
        """The parameter of this name, also one of a numbered family; nothing if there is none."""
        if name in self.parameters:
            return self.parameters[name]
        stem = name.rstrip("0123456789")
        family = self.parameters.get(f"{stem}[n]")
        number = name[len(stem) :]
        if family and number and int(number) < family.count and str(int(number)) == number:
            return family
        return Parameter(name) if self.open else None


@dataclass(frozen=True, slots=True)
class Entry:
    """One command: ``program name ARGUMENTS`` calls ``method`` (verb ``LOCAL``: see ``local``)."""

    program: str
    name: str
    method: MethodEntry
    arguments: tuple[str, ...] = ()
    output: str = ""
    fixed: Mapping[str, str] = field(default_factory=dict)


class Table:
    """All commands and methods there are."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self._methods: Mapping[str, Mapping[str, Any]] = raw["methods"]
        self._commands: Mapping[str, Mapping[str, Mapping[str, Any]]] = raw["commands"]
        self._aliases: Mapping[str, Mapping[str, str]] = raw["aliases"]

    @classmethod
    def load(cls, path: Path = FILE) -> Table:
        """Read the generated file; raises ``OSError`` or ``ValueError`` when the package is damaged."""
        return cls(json.loads(path.read_bytes()))

    @property
    def programs(self) -> tuple[str, ...]:
        """The programs that have commands, sorted."""
        return tuple(sorted(self._commands))

    def names(self, program: str) -> tuple[str, ...]:
        """The full names of a program's commands, sorted; aliases are left out."""
        return tuple(sorted(self._commands.get(program, {})))

    def entry(self, program: str, name: str) -> Entry:
        """The command of this full name; raises ``KeyError``."""
        raw = self._commands[program][name]
        return Entry(
            program=program,
            name=name,
            method=self.method(*raw["method"].split(" ", 1)),
            arguments=tuple(raw.get("arguments", ())),
            output=raw.get("output", ""),
            fixed=raw.get("fixed", {}),
        )

    def find(self, program: str, words: list[str]) -> tuple[Entry, list[str]]:
        """The command that ``words`` begin with, and the words after it.

        A subcommand may be shortened to any unique prefix. Raises ``UsageFailure`` when there is no such
        command or a prefix fits several.
        """
        names = {tuple(name.split()): name for name in self._commands.get(program, {})}
        names |= {tuple(alias.split()): name for alias, name in self._aliases.get(program, {}).items()}
        return self._descend(program, names, words)

    def _descend(
        self, program: str, names: dict[tuple[str, ...], str], words: list[str]
    ) -> tuple[Entry, list[str]]:
        depth = 0
        while True:
            if whole := [target for parts, target in names.items() if len(parts) == depth]:
                return self.entry(program, whole[0]), words[depth:]
            if depth == len(words) or words[depth].startswith("-"):
                about = " ".join(words[:depth])
                raise UsageFailure(
                    f"no command specified after '{program} {about}'".replace(" ''", "'"), about
                )
            word = words[depth]
            fitting = {p: t for p, t in names.items() if p[depth].startswith(word)}
            exact = {p: t for p, t in fitting.items() if p[depth] == word}
            names = exact or fitting
            if not names:
                raise UsageFailure(f"unknown command '{program} {' '.join(words[: depth + 1])}'")
            if len(heads := {p[depth] for p in names}) > 1 and len(set(names.values())) > 1:
                raise UsageFailure(
                    f"command '{program} {' '.join(words[: depth + 1])}' is ambiguous: "
                    + ", ".join(sorted(heads))
                )
            depth += 1

    def method(self, verb: str, path: str) -> MethodEntry:
        """The method ``verb path`` (with its ``{placeholders}``); raises ``KeyError``."""
        raw = self._methods[f"{verb} {path}"]
        return MethodEntry(
            verb=verb,
            path=path,
            summary=raw.get("summary", ""),
            parameters={n: _parameter(n, part) for n, part in raw.get("parameters", {}).items()},
            task=raw.get("task", False),
            columns=tuple(raw.get("columns", ())),
            open=raw.get("open", False),
        )

    def templates(self) -> Iterable[tuple[str, str]]:
        """Every method as (verb, path with placeholders)."""
        for key in self._methods:
            verb, _, path = key.partition(" ")
            yield verb, path


def _parameter(name: str, raw: Mapping[str, Any]) -> Parameter:
    return Parameter(
        name=name,
        type=raw.get("type", "string"),
        required=raw.get("required", False),
        description=raw.get("description", ""),
        default=raw.get("default"),
        enum=tuple(raw.get("enum", ())),
        ask=raw.get("ask", ""),
        ask_again=raw.get("ask_again", ""),
        confirm=_confirm(raw["confirm"]) if "confirm" in raw else None,
        unless=tuple(raw.get("unless", ())),
        count=raw.get("count", 0),
    )


def _confirm(raw: Mapping[str, Any]) -> Confirm:
    accepted = raw.get("accepted", "{value}")
    return Confirm(raw["method"], tuple(raw["given"]), raw["show"], raw["ask"], accepted)
