"""What ends a command early.

CommandFailure              exit 255, its text on stderr as it is
├── UsageFailure            the command line can't be understood; the usage follows the sentence
├── DaemonSilent            pvedaemon can't be reached or stopped in the middle of an answer
└── CallRefused             the API answered with an error
"""

from __future__ import annotations

from collections.abc import Mapping


class CommandFailure(Exception):
    """A command that did not do what was asked; ``str()`` is what the user reads."""

    exit_status = 255


class UsageFailure(CommandFailure):
    """The arguments make no sense; ``about`` names the command whose usage helps, if one was recognised."""

    def __init__(self, text: str, about: str = "") -> None:
        super().__init__(text)
        self.about = about


class DaemonSilent(CommandFailure):
    """No answer, or half of one, from pvedaemon."""


class CallRefused(CommandFailure):
    """The API's error: its HTTP code, its sentence, and a sentence for each wrong parameter."""

    def __init__(self, code: int, message: str, errors: Mapping[str, str] | None = None) -> None:
        self.code = code
        self.message = message.strip() or f"error {code}"
        self.errors = dict(errors or {})
        lines = self.message.splitlines()
        if self.errors:
            lines = [f"{code} {lines[0]}", *(f"{name}: {text}" for name, text in self.errors.items())]
        elif code == 400 and not lines[0].startswith("400 "):
            lines[0] = f"400 {lines[0]}"
        super().__init__("\n".join(lines))
