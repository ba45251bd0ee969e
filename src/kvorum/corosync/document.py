"""The text of corosync.conf (corosync.conf(5)): parsed, edited and printed without losing anything.

A document is a tree of sections, entries (``key: value``) and notes (comments, blank lines). Each keeps the
line it came from, so that what was not edited is printed byte for byte; what is new gets two blanks a level.
All values are immutable: an edit returns a new document.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from kvorum.core.errors import KvorumError

_INDENT = "  "
_KEY = re.compile(r"[a-zA-Z0-9_./-]+")


class DocumentError(KvorumError):
    """corosync.conf is wrong; the sentence names the line and what is allowed there."""


@dataclass(frozen=True, slots=True)
class Note:
    """A comment or a blank line, as it stands."""

    raw: str


@dataclass(frozen=True, slots=True)
class Entry:
    """``key: value``; ``raw`` is its line as read, ``None`` when it is new."""

    key: str
    value: str
    raw: str | None = field(default=None, compare=False)
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Section:
    """``name { … }``; ``opening`` and ``closing`` are its lines as read, ``None`` when it is new."""

    name: str
    items: tuple[Item, ...] = ()
    opening: str | None = field(default=None, compare=False)
    closing: str | None = field(default=None, compare=False)
    line: int = field(default=0, compare=False)

    @classmethod
    def of(cls, name: str, values: dict[str, str], *sections: Section) -> Section:
        """A new section with these entries, then these sections."""
        return cls(name, (*(_entry(key, value) for key, value in values.items()), *sections))

    def get(self, key: str) -> str | None:
        """The value of a key, the last one if it stands several times (as corosync reads it)."""
        entry = self.entry(key)
        return entry.value if entry else None

    def entry(self, key: str) -> Entry | None:
        """The entry of a key, the last one if it stands several times."""
        found = [item for item in self.items if isinstance(item, Entry) and item.key == key]
        return found[-1] if found else None

    def values(self) -> dict[str, str]:
        """All entries, in order."""
        return {item.key: item.value for item in self.items if isinstance(item, Entry)}

    def sections(self, name: str) -> tuple[Section, ...]:
        """All sections of a name directly within this one."""
        return tuple(item for item in self.items if isinstance(item, Section) and item.name == name)

    def section(self, name: str) -> Section | None:
        """The last section of a name directly within this one."""
        found = self.sections(name)
        return found[-1] if found else None

    def set(self, key: str, value: str) -> Section:
        """This section with the key set: in its place, or new after the last entry."""
        new, old = _entry(key, value), self.entry(key)
        if old is not None:
            if old.value == value:
                return self
            return replace(self, items=tuple(new if item is old else item for item in self.items))
        last = max((i for i, item in enumerate(self.items) if isinstance(item, Entry)), default=-1)
        return replace(self, items=(*self.items[: last + 1], new, *self.items[last + 1 :]))

    def unset(self, key: str) -> Section:
        """This section without the key."""
        kept = tuple(item for item in self.items if not (isinstance(item, Entry) and item.key == key))
        return replace(self, items=kept)

    def with_section(self, new: Section, *, instead_of: Section | None = None) -> Section:
        """This section with another one in it: in the place of one, or at the end."""
        if instead_of is not None:
            return replace(self, items=tuple(new if item is instead_of else item for item in self.items))
        return replace(self, items=(*self.items, new))

    def without_section(self, old: Section) -> Section:
        """This section without one of its sections."""
        return replace(self, items=tuple(item for item in self.items if item is not old))


Item: TypeAlias = Note | Entry | Section


def parse(text: str) -> Section:
    """Parse corosync.conf into its root (a section without a name).

    Raises ``DocumentError`` with the line's number for a section that is not closed or not open, an entry
    outside of any section, and a line that is neither an entry, a section nor a comment.
    """
    stack: list[tuple[str, str, int, list[Item]]] = [("", "", 0, [])]
    for number, raw in enumerate(_lines(text), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            stack[-1][3].append(Note(raw))
        elif "{" in line:
            name, _, rest = line.partition("{")
            name = name.strip()
            if rest.strip() or not _KEY.fullmatch(name):
                raise _error(number, f"'{line}' does not open a section: write only 'name {{'")
            stack.append((name, raw, number, []))
        elif ":" in line:
            stack[-1][3].append(_parse_entry(line, raw, number, inside=len(stack) > 1))
        elif line == "}":
            if len(stack) == 1:
                raise _error(number, "'}' closes a section, but none is open")
            name, opening, opened_at, items = stack.pop()
            stack[-1][3].append(Section(name, tuple(items), opening, raw, opened_at))
        else:
            raise _error(number, f"'{line}' is neither 'key: value' nor a section's 'name {{' or '}}'")
    if len(stack) > 1:
        raise _error(stack[-1][2], f"the section '{stack[-1][0]}' opened here is never closed: add a '}}'")
    return Section("", tuple(stack[0][3]))


def render(root: Section) -> str:
    """Print the document; what was not edited comes out as it was read."""
    parts: list[str] = []
    _render_items(root, 0, parts)
    return "".join(parts)


def integer(section: Section, key: str, default: int | None = None) -> int:
    """The value of a key as a whole number of at least 0; raises ``DocumentError`` naming its line."""
    entry = section.entry(key)
    if entry is None:
        if default is None:
            raise _error(section.line, f"the section '{section.name}' lacks '{key}'")
        return default
    if not (entry.value.isascii() and entry.value.isdigit()):
        raise _error(entry.line, f"{key}: '{entry.value}' is not a whole number")
    return int(entry.value)


def error_at(item: Entry | Section, text: str) -> DocumentError:
    """An error about an item, with its line's number where it was read from a text."""
    return _error(item.line, text)


def _lines(text: str) -> list[str]:
    """The lines with their ends; only a newline ends a line, as corosync reads it."""
    lines = text.split("\n")
    return [line + "\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def _parse_entry(line: str, raw: str, number: int, *, inside: bool) -> Entry:
    key, _, value = line.partition(":")
    key = key.strip()
    if not inside:
        raise _error(number, f"'{line}' stands outside of any section")
    if not _KEY.fullmatch(key):
        raise _error(number, f"'{key}' is not a key: use letters, digits, '_', '-', '.'")
    return Entry(key, value.strip(), raw, number)


def _entry(key: str, value: str) -> Entry:
    if not _KEY.fullmatch(key) or value != value.strip() or any(c in value for c in "\n\r{") or not value:
        raise DocumentError(f"corosync.conf can't hold '{key}: {value}': no line breaks, no '{{', not empty")
    return Entry(key, value)


def _render_items(section: Section, depth: int, parts: list[str]) -> None:
    for item in section.items:
        if parts and not parts[-1].endswith("\n"):
            parts.append("\n")
        match item:
            case Note(raw):
                parts.append(raw)
            case Entry():
                parts.append(
                    item.raw if item.raw is not None else f"{_INDENT * depth}{item.key}: {item.value}\n"
                )
            case Section():
                fresh = f"{_INDENT * depth}{item.name} {{\n"
                parts.append(item.opening if item.opening is not None else fresh)
                _render_items(item, depth + 1, parts)
                if not parts[-1].endswith("\n"):
                    parts.append("\n")
                parts.append(item.closing if item.closing is not None else f"{_INDENT * depth}}}\n")


def _error(line: int, text: str) -> DocumentError:
    return DocumentError(f"corosync.conf line {line}: {text}" if line else f"corosync.conf: {text}")
