"""Files of ``key: value`` lines with a description above them, such as datacenter.cfg and nodes/N/config.

Leading lines that begin with ``#`` are the description (Markdown), with ``%XX`` for what would break a line.
Everything else is kept as it is: unknown keys, order, blank lines and later comments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote


@dataclass(frozen=True, slots=True)
class OptionsFile:
    """What such a file says; immutable, an edit returns a new one."""

    description: str
    lines: tuple[str, ...]
    """All lines below the description."""

    @classmethod
    def parse(cls, text: str) -> OptionsFile:
        """Read a file's text; a line that is no option is kept and means nothing."""
        lines = text.splitlines()
        count = next((n for n, line in enumerate(lines) if not line.startswith("#")), len(lines))
        description = "".join(f"{unquote(line[1:])}\n" for line in lines[:count])
        return cls(description, tuple(lines[count:]))

    @property
    def values(self) -> dict[str, str]:
        """The options in the order of the file; of a key that stands twice the last counts."""
        found = {}
        for line in self.lines:
            key, colon, value = line.partition(":")
            if colon and key and not line.startswith("#") and not key[0].isspace():
                found[key.strip()] = value.strip()
        return found

    def with_description(self, text: str) -> OptionsFile:
        """The same options under another description; an empty one removes it."""
        return OptionsFile(f"{text.rstrip()}\n" if text.strip() else "", self.lines)

    def changed(self, settings: Mapping[str, str], delete: Iterable[str] = ()) -> OptionsFile:
        """With options set (in their place, new ones at the end) and others taken out."""
        left, gone = dict(settings), set(delete)
        lines = []
        for line in self.lines:
            key = line.partition(":")[0].strip()
            if line.startswith("#") or ":" not in line:
                lines.append(line)
            elif key in settings:
                if key in left:
                    lines.append(f"{key}: {left.pop(key)}")
            elif key not in gone:
                lines.append(line)
        return OptionsFile(self.description, (*lines, *(f"{key}: {value}" for key, value in left.items())))

    def render(self) -> str:
        """The file's text."""
        described = [f"#{_encoded(line)}" for line in self.description.split("\n")[:-1]]
        return "".join(f"{line}\n" for line in (*described, *self.lines))


def _encoded(line: str) -> str:
    """One line of the description, whatever characters are in it."""
    return "".join(quote(c) if c == "%" or not c.isprintable() else c for c in line)
