"""Where every command begins: ``/usr/sbin/qm`` and the others call ``main`` under their own name.

Exit status: 0 done, 1 done with warnings, 255 refused or not understood (a few commands have their own).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kvorum.cli import local, usage
from kvorum.cli.arguments import Presentation, parse
from kvorum.cli.client import Client, quote
from kvorum.cli.failures import CommandFailure, UsageFailure
from kvorum.cli.files import contents
from kvorum.cli.table import Entry, MethodEntry, Table
from kvorum.core.errors import KvorumError
from kvorum.core.paths import Paths

ROOT_VARIABLE = "KVORUM_ROOT"
"""Names the directory that ``kvorum serve`` runs under, for commands that are to talk to that one."""


def main(prog: str | None = None, argv: Sequence[str] | None = None) -> int:
    """Run the command ``prog`` (default: the name this was called by); return its exit status."""
    program = prog or Path(sys.argv[0]).name
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _Run(program, words).run()
    except UsageFailure as failure:
        print(failure, file=sys.stderr)
        print(_usage_after(program, failure.about), file=sys.stderr, end="")
        return failure.exit_status
    except CommandFailure as failure:
        print(failure, file=sys.stderr)
        return failure.exit_status
    except KvorumError as error:
        print(error, file=sys.stderr)
        return CommandFailure.exit_status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def places() -> Paths:
    """The installed node's places, or those of the ``kvorum serve`` that ``KVORUM_ROOT`` names."""
    root = os.environ.get(ROOT_VARIABLE)
    return Paths.under(Path(root)) if root else Paths.system()


def local_node() -> str:
    """This node's name: the host's, without its domain."""
    return os.uname().nodename.partition(".")[0]


def _usage_after(program: str, about: str) -> str:
    """What follows a sentence about a wrong command line."""
    if program == "pvesh":
        from kvorum.cli.pvesh import USAGE

        return USAGE
    table = Table.load()
    if about in table.names(program):
        return usage.synopsis(table.entry(program, about)) + "\n"
    return usage.program_help(table, program, f"{about} " if about else "")


class _Run:
    """One command line."""

    def __init__(self, program: str, words: list[str]) -> None:
        self._program = program
        self._words = words

    def run(self) -> int:
        words = self._words
        if not words:
            raise UsageFailure("ERROR: no command specified")
        if words[0] in ("help", "--help", "-h", "-?"):
            return self._help(words[1:])
        if self._program == "pvesh":
            return self._pvesh(words[0], words[1:])
        return self._command()

    def _help(self, words: list[str]) -> int:
        """``help``, ``help COMMAND`` and ``--help``, to stdout."""
        verbose = bool({"--verbose", "-verbose"} & set(words))
        words = [word for word in words if not word.startswith("-")]
        if self._program == "pvesh":
            from kvorum.cli.pvesh import USAGE

            print(USAGE, end="")
            return 0
        table = Table.load()
        text = usage.program_help(table, self._program, verbose=verbose)
        if words:
            try:
                text = usage.command_help(table.find(self._program, words)[0])
            except UsageFailure as failure:
                if not failure.about:
                    raise
                text = usage.program_help(table, self._program, f"{failure.about} ", verbose=verbose)
        print(text, end="")
        return 0

    def _command(self) -> int:
        """A command of the table: one call of the API."""
        entry, rest = Table.load().find(self._program, self._words)
        before_dashes = rest[: rest.index("--")] if "--" in rest else rest
        if {"--help", "-h", "-help"} & set(before_dashes):
            print(usage.command_help(entry), end="")
            return 0
        given = parse(entry, rest, {"node": local_node()})
        if entry.method.verb == local.VERB:
            print(local.text(entry.method.path, given.parameters), end="")
            return 0
        given.parameters = contents(self._program, given.parameters)
        client = Client(places().daemon_socket)
        if any(parameter.ask or parameter.confirm for parameter in entry.method.parameters.values()):
            from kvorum.cli.ask import confirmed_values, missing_answers

            given.parameters |= confirmed_values(entry.method, given.parameters, client)
            given.parameters |= missing_answers(entry.method, given.parameters)
        path, others = fill(entry.method, given.parameters)
        answer = client.call(entry.method.verb, path, others)
        if entry.output == "console":
            from kvorum.cli import console

            return console.talk(client.path, path, answer)
        shown = replace(given.presentation, columns=entry.method.columns)
        return self._finish(client, entry, answer, shown)

    def _pvesh(self, command: str, words: list[str]) -> int:
        from kvorum.cli import pvesh

        table, client = Table.load(), Client(places().daemon_socket)
        known = [name for name in (*pvesh.VERBS, "ls", "usage") if name.startswith(command)]
        if len(known) != 1:
            raise UsageFailure(f"unknown command 'pvesh {command}'")
        if known[0] == "usage":
            print(pvesh.usage(table, words), end="")
            return 0
        if known[0] == "ls":
            print(pvesh.listing(table, client, words[0] if words else "/"), end="")
            return 0
        method, answer, shown = pvesh.call(table, client, known[0], words, local_node())
        return self._finish(client, Entry("pvesh", known[0], method), answer, shown)

    def _finish(self, client: Client, entry: Entry, answer: object, shown: Presentation) -> int:
        """Follow the task that was begun, or print the result."""
        if entry.method.task and isinstance(answer, str) and answer.startswith("UPID:"):
            from kvorum.cli.follow import follow

            return follow(client, answer, quiet=shown.quiet)
        if not shown.quiet:
            from kvorum.cli.output import render

            encoding = (sys.stdout.encoding or "").lower().replace("-", "")
            print(render(entry, answer, replace(shown, box=encoding == "utf8")), end="")
        return 0


def fill(
    method: MethodEntry, parameters: dict[str, str | list[str]]
) -> tuple[str, dict[str, str | list[str]]]:
    """The path with its placeholders filled, and the parameters that are left.

    A volume's id names its storage. Raises ``UsageFailure`` when a placeholder has no value.
    """
    others, parts = dict(parameters), []
    if "{storage}" in method.path and isinstance(volume := others.get("volume"), str) and ":" in volume:
        others.setdefault("storage", volume.partition(":")[0])
    for part in method.path.split("/")[1:]:
        if part.startswith("{"):
            value = others.pop(part[1:-1], None)
            if not isinstance(value, str) or not value:
                raise UsageFailure(f"400 Parameter verification failed.\n{part[1:-1]}: property is missing")
            part = quote(value)
        parts.append(part)
    return "/" + "/".join(parts), others


if __name__ == "__main__":
    sys.exit(main())
