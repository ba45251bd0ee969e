"""``pvesh``: the whole API by path: ``get|set|create|delete|ls|usage <path>``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kvorum.cli.arguments import Presentation, read_words
from kvorum.cli.client import Client, quote
from kvorum.cli.failures import CallRefused, CommandFailure, UsageFailure
from kvorum.cli.table import Entry, MethodEntry, Parameter, Table
from kvorum.cli.usage import command_help, synopsis

OPENAPI = Path(__file__).parents[1] / "interface" / "openapi.json"

VERBS = {"get": "GET", "set": "PUT", "create": "POST", "delete": "DELETE"}
USAGE = """USAGE: pvesh <COMMAND> [ARGS] [OPTIONS]

       pvesh get <api_path> [OPTIONS] [FORMAT_OPTIONS]
       pvesh set <api_path> [OPTIONS] [FORMAT_OPTIONS]
       pvesh create <api_path> [OPTIONS] [FORMAT_OPTIONS]
       pvesh delete <api_path> [OPTIONS] [FORMAT_OPTIONS]
       pvesh ls <api_path>
       pvesh usage <api_path> [--command <get | set | create | delete>] [--returns] [--verbose]

       FORMAT_OPTIONS: --output-format <text | json | json-pretty | yaml> --noborder --noheader --quiet
"""


class NoSuchHandler(CommandFailure):
    """The path has no method for the verb."""

    exit_status = 1


def segments(path: str) -> list[str]:
    """The parts of a path; several slashes count as one."""
    return [part for part in path.split("/") if part]


def resolve(table: Table, verb: str, path: str) -> tuple[MethodEntry, dict[str, str]] | None:
    """The method that answers ``verb path`` and what its placeholders stand for.

    A literal part wins over a placeholder: ``/cluster/ha/status/current`` is no resource called current.
    """
    wanted, best = segments(path), None
    for found_verb, template in table.templates():
        parts = segments(template)
        if found_verb == verb and (bound := _bind(parts, wanted)) is not None:
            rank = [part.startswith("{") for part in parts]
            if best is None or rank < best[0]:
                best = (rank, template, bound)
    return (table.method(verb, best[1]), best[2]) if best else None


def _bind(template: list[str], parts: list[str]) -> dict[str, str] | None:
    """What each placeholder of a template stands for in ``parts``, or nothing if they don't fit."""
    if len(template) != len(parts):
        return None
    bound = {}
    for pattern, part in zip(template, parts, strict=True):
        if pattern.startswith("{"):
            bound[pattern[1:-1]] = part
        elif pattern != part:
            return None
    return bound


def call(
    table: Table, client: Client, command: str, words: list[str], node: str
) -> tuple[MethodEntry, object, Presentation]:
    """Carry out ``get``, ``set``, ``create`` or ``delete``; the method, its answer, and how to show it.

    Raises ``NoSuchHandler`` for a path without such a method, ``UsageFailure``, and what the client raises.
    """
    if not words or words[0].startswith("-"):
        raise UsageFailure("400 not enough arguments", command)
    found = resolve(table, VERBS[command], words[0])
    if found is None:
        raise NoSuchHandler(f"No '{command}' handler defined for '{words[0]}'")
    method, bound = found
    given = read_words(method, [word for word in words[1:] if word not in ("--noproxy", "-noproxy")], command)
    if given.positions:
        raise UsageFailure("400 too many arguments", command)
    if bound.get("node") == "localhost":
        bound["node"] = node
    path = "".join(f"/{quote(bound.get(p[1:-1], p))}" for p in segments(method.path))
    answer = client.call(method.verb, path, given.parameters)
    return method, answer, replace(given.presentation, columns=method.columns)


def listing(table: Table, client: Client, path: str) -> str:
    """``pvesh ls``: a line for each child: ``D`` if it has children, then ``r w c d`` for what it takes.

    Raises ``NoSuchHandler`` when there is nothing at the path.
    """
    wanted = segments(path)
    below: dict[str, set[str]] = {}
    deeper: set[str] = set()
    for verb, template in table.templates():
        parts = segments(template)
        if len(parts) > len(wanted) and _bind(parts[: len(wanted)], wanted) is not None:
            child = parts[len(wanted)]
            if len(parts) == len(wanted) + 1:
                below.setdefault(child, set()).add(verb)
            else:
                below.setdefault(child, set())
                deeper.add(child)
    if not below and resolve(table, "GET", path) is None:
        raise NoSuchHandler(f"No 'ls' handler defined for '{path}'")
    rows: dict[str, str] = {}
    for child, verbs in below.items():
        flags = ("D" if child in deeper else "-") + "".join(
            letter if verb in verbs else "-"
            for verb, letter in (("GET", "r"), ("PUT", "w"), ("POST", "c"), ("DELETE", "d"))
        )
        for name in _instances(client, path, child[1:-1]) if child.startswith("{") else [child]:
            rows.setdefault(name, flags)
    return "".join(f"{flags}  {name}\n" for name, flags in sorted(rows.items()))


def _instances(client: Client, path: str, key: str) -> list[str]:
    """What a placeholder can stand for: the parent's own list tells."""
    try:
        rows = client.call("GET", "".join(f"/{quote(part)}" for part in segments(path)))
    except CallRefused as refusal:
        if refusal.code in (400, 501):
            return []
        raise
    if not isinstance(rows, list):
        return []
    names = [str(row.get(key, row.get("name", ""))) for row in rows if isinstance(row, dict)]
    return [name for name in names if name]


def usage(table: Table, words: list[str]) -> str:
    """``pvesh usage``: the line of each method at a path, or of the one that ``--command`` names.

    ``--verbose`` adds what its parameters mean, ``--returns`` the JSON schema of its answer. Raises
    ``UsageFailure`` for words that make no sense and ``NoSuchHandler`` when there is no such method.
    """
    asked = read_words(_USAGE, words, "usage")
    if len(asked.positions) != 1:
        raise UsageFailure(f"400 {'not enough' if not asked.positions else 'too many'} arguments", "usage")
    path, named = asked.positions[0], asked.parameters.get("command")
    commands = [str(named)] if named else list(VERBS)
    if unknown := [command for command in commands if command not in VERBS]:
        raise UsageFailure(f"400 command: '{unknown[0]}' is not one of {', '.join(VERBS)}", "usage")
    texts = []
    for command in commands:
        if found := resolve(table, VERBS[command], path):
            method = found[0]
            shown = {n: p for n, p in method.parameters.items() if f"{{{n}}}" not in method.path}
            entry = Entry("pvesh", f"{command} {path}", replace(method, parameters=shown))
            verbose = asked.presentation.verbose or named is not None
            text = command_help(entry) if verbose else f"USAGE: {synopsis(entry)}\n"
            if asked.parameters.get("returns") == "1":
                text += f"\nReturns: {_returned(method)}\n"
            texts.append(text)
    if not texts:
        raise NoSuchHandler(f"No '{commands[0]}' handler defined for '{path}'")
    return "\n".join(texts)


_USAGE = MethodEntry(
    "GET", "/", parameters={"command": Parameter("command"), "returns": Parameter("returns", "boolean")}
)


def _returned(method: MethodEntry) -> str:
    """The JSON schema of a method's answer, as the OpenAPI document has it."""
    import json

    document = json.loads(OPENAPI.read_bytes())
    answer = document["paths"][method.path][method.verb.lower()]["responses"]["200"]
    schema = answer["content"]["application/json"]["schema"]["properties"]["data"]
    return json.dumps(schema, indent=3, sort_keys=True, ensure_ascii=False)
