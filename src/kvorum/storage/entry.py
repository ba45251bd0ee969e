"""One storage as storage.cfg describes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from kvorum.core import property_string


@dataclass(frozen=True, slots=True)
class StorageEntry:
    """One storage as storage.cfg describes it; ``options`` holds every key but the id and the type."""

    type: str
    id: str
    options: Mapping[str, str]
    comments: tuple[str, ...] = ()
    """Comment lines that stand before the section, kept as they are."""
    line: int = field(default=0, compare=False)
    """Where it begins in storage.cfg; 0: it is not there yet."""
    wrong: str = field(default="", compare=False)
    """What is wrong with it, a sentence with file, line, key and what is allowed; empty: nothing."""

    @property
    def path(self) -> str:
        """The directory of a kind that has one; empty otherwise."""
        return self.options.get("path", "")

    @property
    def content(self) -> tuple[str, ...]:
        """What may be kept there, sorted; ``images`` and ``rootdir`` where nothing is said."""
        return tuple(sorted(words(self.options.get("content", "images,rootdir"))))

    @property
    def nodes(self) -> frozenset[str]:
        """The nodes that have this storage; empty means all."""
        return frozenset(words(self.options.get("nodes", "")))

    @property
    def shared(self) -> bool:
        """Whether all its nodes see the same data."""
        return is_on(self.options.get("shared"))

    @property
    def disabled(self) -> bool:
        """Whether the admin switched it off."""
        return is_on(self.options.get("disable"))

    def available_on(self, node: str) -> bool:
        """Whether this node is meant to have the storage, switched on."""
        return not self.disabled and (not self.nodes or node in self.nodes)


def words(text: str) -> list[str]:
    """The words of a list: separated by commas, semicolons or blanks."""
    return [word for word in re.split(r"[,;\s]+", text) if word]


def flag(text: str | None) -> bool:
    """A boolean option: absent is false, the bare key is true."""
    return False if text is None else text == "" or property_string.boolean(text)


def is_on(text: str | None) -> bool:
    """A boolean option, off also where its value is wrong (``StorageEntry.wrong`` says so)."""
    try:
        return flag(text)
    except ValueError:
        return False
