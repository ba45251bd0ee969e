"""Changes that wait for the guest's next start: the ``[PENDING]`` section of its configuration.

A change that a running QEMU can't take stands there as ``key: value``; a setting that shall go, in one line
``delete: key,!key``, where ``!`` asks for a drive's volume to be destroyed with it. All of it is pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kvorum.guests.config.document import Document

SECTION = "PENDING"
Row = dict[str, object]


@dataclass(frozen=True, slots=True)
class Pending:
    """What waits."""

    changes: Mapping[str, str] = field(default_factory=dict)
    delete: Mapping[str, bool] = field(default_factory=dict)
    """Setting to whether its volume is to be destroyed with it."""

    def __bool__(self) -> bool:
        return bool(self.changes or self.delete)

    @property
    def forced(self) -> frozenset[str]:
        """The settings that go with their volumes."""
        return frozenset(key for key, force in self.delete.items() if force)

    @classmethod
    def of(cls, document: Document) -> Pending:
        """What a configuration has waiting."""
        changes = {key: setting.value for key, setting in document.settings(SECTION).items()}
        words = [word.strip() for word in changes.pop("delete", "").split(",")]
        return cls(changes, {word.lstrip("!"): word.startswith("!") for word in words if word.lstrip("!")})

    def put(self, document: Document) -> Document:
        """The configuration with exactly this waiting."""
        settings = dict(sorted(self.changes.items()))
        if self.delete:
            words = [f"!{key}" if force else key for key, force in sorted(self.delete.items())]
            settings = {"delete": ",".join(words), **settings}
        return document.with_section(SECTION, settings)

    def stage(self, changes: Mapping[str, str], delete: Iterable[str], *, force: bool = False) -> Pending:
        """With more waiting; what was asked before for the same settings is replaced."""
        going = dict.fromkeys(delete, force)
        touched = changes.keys() | going.keys()
        return Pending(
            {**self._without(touched).changes, **changes}, {**self._without(touched).delete, **going}
        )

    def revert(self, keys: Iterable[str]) -> Pending:
        """Without these settings."""
        return self._without(frozenset(keys))

    def _without(self, keys: frozenset[str] | set[str]) -> Pending:
        return Pending(
            {key: value for key, value in self.changes.items() if key not in keys},
            {key: force for key, force in self.delete.items() if key not in keys},
        )


def rows(settings: Mapping[str, str], pending: Pending) -> list[Row]:
    """Each setting with its value now, the one that waits, and whether it is to go (2: with its volume)."""
    found: list[Row] = []
    for key in sorted(settings.keys() | pending.changes.keys()):
        row: Row = {"key": key}
        if key in settings:
            row["value"] = settings[key]
        if key in pending.changes:
            row["pending"] = pending.changes[key]
        if key in pending.delete:
            row["delete"] = 2 if pending.delete[key] else 1
        found.append(row)
    return found
