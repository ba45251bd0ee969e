"""From the rooms' method declarations to the table of commands; never loaded by a command.

Pure but for the import of the rooms' ``methods`` modules; the same declarations give the same bytes.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
import pkgutil
import re
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

import kvorum
from kvorum.cli.local import LOCAL, VERB
from kvorum.cli.output import known
from kvorum.interface import Command, Method, NodeOnly, declared
from kvorum.interface.openapi import directories

_NUMBERED = re.compile(r"(.*[^0-9])(0|[1-9][0-9]*)")
_WITHOUT = frozenset(("cli", "lab"))


def all_methods() -> tuple[Method, ...]:
    """The methods of every room that declares some: its ``methods`` module or package is imported, whole."""
    for room in sorted(m.name for m in pkgutil.iter_modules(kvorum.__path__) if m.ispkg):
        name = f"kvorum.{room}.methods"
        if room in _WITHOUT or importlib.util.find_spec(name) is None:
            continue
        module = importlib.import_module(name)
        for part in pkgutil.iter_modules(getattr(module, "__path__", [])):
            importlib.import_module(f"{name}.{part.name}")
    return declared()


def build(methods: Iterable[Method]) -> dict[str, Any]:
    """The table; raises ``ValueError`` for a command that is declared twice or names what there is not."""
    entries: dict[str, Any] = {}
    commands: dict[str, dict[str, Any]] = {}
    aliases: dict[str, dict[str, str]] = {}
    shown = [method for method in methods if not isinstance(method.permission, NodeOnly)]
    for path in directories(shown):
        entries[f"GET {path}"] = {"summary": "Directory index.", "columns": ["name"]}
    for method in shown:
        key = f"{method.verb} {method.path}"
        entries[key] = _method(method)
        for command in method.commands:
            program, _, name = command.name.partition(" ")
            _enter(commands, program, name, _command(command, key, entries[key]))
            for alias in command.aliases:
                aliases.setdefault(program, {})[alias.removeprefix(f"{program} ")] = name
    _check_confirmations(entries)
    for local in LOCAL:
        program, _, name = local.name.partition(" ")
        key = f"{VERB} {local.source}"
        entries[key] = {"summary": local.summary}
        entry: dict[str, Any] = {"method": key}
        if local.parameters:
            entries[key]["parameters"] = {name: dict(part) for name, part in local.parameters.items()}
            entry["arguments"] = list(local.arguments)
        _enter(commands, program, name, entry)
    return {"methods": entries, "commands": commands, "aliases": aliases}


def _check_confirmations(entries: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` for a proposed value that comes from a method or parameter there is not."""
    for key, entry in entries.items():
        for name, parameter in entry.get("parameters", {}).items():
            if (confirm := parameter.get("confirm")) is None:
                continue
            source = entries.get(confirm["method"], {}).get("parameters", {})
            if unknown := [n for n in confirm["given"] if n not in source or n not in entry["parameters"]]:
                raise ValueError(
                    f"{key}: {name} is proposed by {confirm['method']} for {', '.join(unknown)}, "
                    "which one of the two methods does not take"
                )


def render(table: Mapping[str, Any]) -> str:
    """The table as the text of ``commands.json``: a method or command on each line, for readable diffs."""
    lines = []
    for section, content in sorted(table.items()):
        if section == "methods":
            body = [f"  {_compact(key)}: {_compact(value)}" for key, value in sorted(content.items())]
        else:
            body = [
                f"  {_compact(program)}: {{\n"
                + ",\n".join(f"   {_compact(k)}: {_compact(v)}" for k, v in sorted(entries.items()))
                + "\n  }"
                for program, entries in sorted(content.items())
            ]
        lines.append(f" {_compact(section)}: {{\n" + ",\n".join(body) + "\n }")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _compact(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _enter(commands: dict[str, dict[str, Any]], program: str, name: str, entry: dict[str, Any]) -> None:
    if not name:
        raise ValueError(f"the command '{program}' needs a subcommand's name")
    if name in commands.setdefault(program, {}):
        raise ValueError(
            f"'{program} {name}' is declared twice: {commands[program][name]['method']}, {entry['method']}"
        )
    commands[program][name] = entry


def _command(command: Command, key: str, method: Mapping[str, Any]) -> dict[str, Any]:
    parameters = method.get("parameters", {})
    names = [a.removesuffix("...") for a in command.arguments] + list(command.fixed)
    if unknown := [n for n in names if n not in parameters and not method.get("open")]:
        raise ValueError(f"'{command.name}' names {', '.join(unknown)}, which {key} does not take")
    if not known(command.output):
        raise ValueError(
            f"'{command.name}' names the output '{command.output}', which kvorum.cli.output has not"
        )
    entry: dict[str, Any] = {"method": key}
    if command.arguments:
        entry["arguments"] = list(command.arguments)
    if command.output:
        entry["output"] = command.output
    if command.fixed:
        entry["fixed"] = dict(command.fixed)
    return entry


def _method(method: Method) -> dict[str, Any]:
    schema = method.parameters.model_json_schema(by_alias=True, mode="validation")
    required = set(schema.get("required", ()))
    parameters = {
        name: _parameter(_resolved(part, schema), name in required)
        for name, part in schema.get("properties", {}).items()
    }
    entry: dict[str, Any] = {"summary": " ".join(method.summary.split())}
    if parameters:
        entry["parameters"] = fold_families(parameters)
    if method.task:
        entry["task"] = True
    if schema.get("additionalProperties"):
        entry["open"] = True
    if columns := _columns(method.result):
        entry["columns"] = columns
    return entry


def _resolved(part: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """A property with its ``$ref`` followed and the ``null`` of an optional one dropped."""
    found = dict(part)
    if isinstance(reference := found.get("$ref"), str):
        found = {**schema["$defs"][reference.rpartition("/")[2]], **found}
    choices = [_resolved(c, schema) for c in found.get("anyOf", ()) if c.get("type") != "null"]
    return {**choices[0], **found} if choices else found


def _parameter(part: Mapping[str, Any], required: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    kind = part.get("type", "string")
    if kind in ("integer", "number", "boolean", "array"):
        found["type"] = kind
    if required:
        found["required"] = True
    for key in ("description", "ask", "ask_again", "confirm", "unless"):
        if part.get(key):
            found[key] = part[key]
    if isinstance(default := part.get("default"), str | int | float) and default != "":
        found["default"] = int(default) if isinstance(default, bool) else default
    if choices := part.get("enum") or ([part["const"]] if "const" in part else None):
        found["enum"] = [str(choice) for choice in choices if choice is not None]
    return found


def fold_families(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Replace ``net0`` … ``net31``, where alike and running from 0, by one ``net[n]`` with ``count`` 32."""
    families: dict[str, list[int]] = {}
    for name in parameters:
        if match := _NUMBERED.fullmatch(name):
            families.setdefault(match[1], []).append(int(match[2]))
    folded = dict(parameters)
    for stem, numbers in families.items():
        members = [parameters[f"{stem}{n}"] for n in numbers]
        alike = all({**m, "description": ""} == {**members[0], "description": ""} for m in members)
        if len(numbers) > 1 and sorted(numbers) == list(range(len(numbers))) and alike:
            for n in numbers:
                del folded[f"{stem}{n}"]
            folded[f"{stem}[n]"] = {**parameters[f"{stem}0"], "count": len(numbers)}
    return folded


def _columns(result: Any) -> list[str]:
    """The declared columns of a result that is a list of objects; none where they are not declared."""
    if typing.get_origin(result) is not list:
        return []
    (row,) = typing.get_args(result)
    if isinstance(row, type) and issubclass(row, BaseModel):
        return [field.serialization_alias or field.alias or n for n, field in row.model_fields.items()]
    if dataclasses.is_dataclass(row):
        return [field.name for field in dataclasses.fields(row)]
    return list(typing.get_type_hints(row)) if typing.is_typeddict(row) else []
