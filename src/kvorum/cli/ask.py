"""Questions to the person at the terminal: passwords, which must not stand in arguments, and yes or no."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from kvorum.cli.client import Client
from kvorum.cli.failures import CommandFailure, UsageFailure
from kvorum.cli.table import Confirm, MethodEntry, Parameter

Given = Mapping[str, str | list[str]]
Read = Callable[[str], str]


class NotConfirmed(CommandFailure):
    """The person at the terminal did not say yes; nothing was done."""


def missing_answers(method: MethodEntry, given: Given, read: Read | None = None) -> dict[str, str]:
    """Ask for every parameter that has a question and was not given.

    An optional one is asked for too if it says what may be given instead (``unless``) and none of that was.

    Raises ``UsageFailure`` when there is nobody to ask, or the confirmation differs.
    """
    wanted = [p for p in method.parameters.values() if p.ask and p.name not in given and _lacking(p, given)]
    return {parameter.name: _answer(parameter, given, read or _read) for parameter in wanted}


def confirmed_values(
    method: MethodEntry, given: Given, client: Client, read: Read | None = None
) -> dict[str, str]:
    """Propose a value for every parameter that has one to confirm and was not given.

    Without a terminal nobody is asked and nothing proposed: the method then says itself what it lacks. Raises
    ``NotConfirmed`` when the answer is not yes, and what the call for the value raises.
    """
    found: dict[str, str] = {}
    for parameter in method.parameters.values():
        confirm = parameter.confirm
        if confirm is None or parameter.name in given or any(name not in given for name in confirm.given):
            continue
        if any(name in given for name in parameter.unless):
            continue
        if read is None and not sys.stdin.isatty():
            continue
        found[parameter.name] = _confirm(confirm, given, client, read or input)
    return found


def _lacking(parameter: Parameter, given: Given) -> bool:
    if parameter.unless:
        return not any(name in given for name in parameter.unless)
    return parameter.required


def _confirm(confirm: Confirm, given: Given, client: Client, read: Read) -> str:
    verb, _, path = confirm.method.partition(" ")
    value = str(client.call(verb, path, {name: given[name] for name in confirm.given}))
    print(_filled(confirm.show, {**given, "value": value}))
    question = confirm.ask
    while True:
        try:
            answer = read(question).strip().lower()
        except EOFError:
            answer = "no"
        if answer == "yes":
            return _filled(confirm.accepted, {"value": value})
        if answer == "no":
            raise NotConfirmed("not confirmed: nothing was changed")
        question = "Please type 'yes' or 'no': "


def _answer(parameter: Parameter, given: Given, read: Read) -> str:
    answer = read(_filled(parameter.ask, given))
    if parameter.ask_again and read(parameter.ask_again) != answer:
        raise UsageFailure("the two passwords differ: nothing was changed")
    return answer


def _filled(text: str, values: Given) -> str:
    """The text with the parameters that it names in braces."""
    for name, value in values.items():
        if isinstance(value, str):
            text = text.replace(f"{{{name}}}", value)
    return text


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
