"""Questions to the person at the terminal: passwords, which must not stand on a command line."""

from __future__ import annotations

import sys
from collections.abc import Callable

from kvorum.cli.failures import UsageFailure
from kvorum.cli.table import MethodEntry, Parameter


def missing_answers(
    method: MethodEntry, given: dict[str, str | list[str]], read: Callable[[str], str] | None = None
) -> dict[str, str]:
    """Ask for every required parameter that has a question and was not given.

    Raises ``UsageFailure`` when there is nobody to ask, or the confirmation differs.
    """
    wanted = [p for p in method.parameters.values() if p.ask and p.required and p.name not in given]
    return {parameter.name: _answer(parameter, read or _read) for parameter in wanted}


def _answer(parameter: Parameter, read: Callable[[str], str]) -> str:
    answer = read(parameter.ask)
    if parameter.ask_again and read(parameter.ask_again) != answer:
        raise UsageFailure("the two passwords differ: nothing was changed")
    return answer


def _read(question: str) -> str:
    """One line, unseen if typed at a terminal, else the next line of stdin."""
    if sys.stdin.isatty():
        from getpass import getpass

        return getpass(question)
    line = sys.stdin.readline()
    if not line:
        raise UsageFailure(
            f"'{question.strip()}' was asked and stdin is at its end: give it as a line on stdin"
        )
    return line.rstrip("\r\n")
