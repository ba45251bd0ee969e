"""What stands in for a daemon's parts where one of its methods is called alone."""

from __future__ import annotations

from collections.abc import Callable

from kvorum.interface import Identity


class Everything:
    """An authority that allows it all."""

    def allowed(self, identity: Identity, path: str, privilege: str) -> bool:
        return True

    def rights(self, identity: Identity) -> Callable[[str, str], bool]:
        return lambda path, privilege: True

    def groups(self, user: str) -> frozenset[str] | None:
        return frozenset()


class Lines:
    """A task's log that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.warnings: list[str] = []

    @property
    def text(self) -> str:
        """All that was said, warnings last."""
        return "\n".join([*self.lines, *self.warnings])

    def line(self, text: str) -> None:
        self.lines.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def progress(self, fraction: float, text: str = "") -> None:
        return
