"""The text of a guest's configuration: description comments, ``key: value`` lines, then ``[sections]``.

Sections are snapshots (by their names), ``[PENDING]`` and ``[special:…]``. A document prints back exactly as
it was read; an edit changes only its own lines. New keys go where the alphabet puts them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote

from kvorum.guests.errors import GuestConfigError

_SECTION = re.compile(r"\[(?P<name>[^\[\]]+)\]\s*")
_SETTING = re.compile(r"(?P<key>[a-zA-Z][a-zA-Z0-9_-]*):[ \t]*(?P<value>.*?)[ \t]*")


@dataclass(frozen=True, slots=True)
class Setting:
    """One ``key: value`` and the line of the file it stands in, counted from 1."""

    value: str
    line: int


@dataclass(frozen=True, slots=True)
class Document:
    """One configuration file. Immutable; edits return a new one."""

    lines: tuple[str, ...]
    file: str = ""
    """The file's name for error messages."""

    @classmethod
    def parse(cls, text: str, file: str = "") -> Document:
        """Split a file's text; raises ``GuestConfigError`` naming the line for what is neither."""
        document = cls(tuple(text.splitlines()), file)
        seen: dict[tuple[str, str], int] = {}
        section = ""
        for number, line in enumerate(document.lines, start=1):
            if not line.strip() or line.startswith("#"):
                continue
            if match := _SECTION.fullmatch(line):
                section = match["name"]
                continue
            setting = _SETTING.fullmatch(line)
            if not setting:
                raise document.error(number, f"'{line}' is no setting; write 'key: value' or '[section]'")
            key = (section, setting["key"])
            if key in seen:
                raise document.error(number, f"key '{key[1]}' stands in line {seen[key]} already")
            seen[key] = number
        return document

    def render(self) -> str:
        """The file's text."""
        return "".join(f"{line}\n" for line in self.lines)

    def error(self, line: int, cause: str) -> GuestConfigError:
        """An error that names the file and the line."""
        where = f"{self.file} line {line}" if self.file else f"line {line}"
        return GuestConfigError(f"{where}: {cause}")

    def settings(self, section: str = "") -> dict[str, Setting]:
        """The settings of the main part, or of a section, in the file's order."""
        result: dict[str, Setting] = {}
        current = ""
        for number, line in enumerate(self.lines, start=1):
            if match := _SECTION.fullmatch(line):
                current = match["name"]
            elif current == section and not line.startswith("#") and (s := _SETTING.fullmatch(line)):
                result[s["key"]] = Setting(s["value"], number)
        return result

    @property
    def sections(self) -> tuple[str, ...]:
        """The names of the sections, in the file's order."""
        return tuple(match["name"] for line in self.lines if (match := _SECTION.fullmatch(line)))

    @property
    def description(self) -> str:
        """The notes above the settings: the text of the leading ``#`` lines, percent-decoded."""
        main = self.lines[: self._main_end()]
        return "".join(unquote(line[1:]) + "\n" for line in main if line.startswith("#"))

    def edit(self, changes: Mapping[str, str], delete: frozenset[str] = frozenset()) -> Document:
        """With settings of the main part set or deleted; ``description`` is the leading comment."""
        lines = list(self.lines[: self._main_end()])
        rest = self.lines[self._main_end() :]
        if "description" in changes or "description" in delete:
            notes = _comment(changes.get("description", ""))
            lines = notes + [line for line in lines if not line.startswith("#")]
        for key in sorted(delete - {"description"}):
            lines = [line for line in lines if _key(line) != key]
        for key, value in sorted(changes.items()):
            if key == "description":
                continue
            if "\n" in value or "\r" in value:
                raise GuestConfigError(f"key '{key}': the value must be one line")
            text = f"{key}: {value}"
            places = [index for index, line in enumerate(lines) if _key(line) == key]
            if places:
                lines[places[0]] = text
            else:
                after = [index for index, line in enumerate(lines) if (_key(line) or "") > key]
                lines.insert(after[0] if after else _last_text(lines), text)
        return replace(self, lines=(*lines, *rest))

    def section_description(self, section: str) -> str:
        """The notes of a section: the text of its ``#`` lines, percent-decoded."""
        block = next((block for block in self._blocks() if _title(block) == section), ())
        return "".join(unquote(line[1:]) + "\n" for line in block if line.startswith("#"))

    def with_section(self, name: str, settings: Mapping[str, str], description: str = "") -> Document:
        """With a section that has exactly these settings and notes; none without any.

        It comes where the known order has it: ``[PENDING]`` first, then by name.
        """
        main = list(self.lines[: self._main_end()])
        blocks = [block for block in self._blocks() if _title(block) != name]
        if any("\n" in value or "\r" in value for value in settings.values()):
            raise GuestConfigError(f"section '{name}': a value must be one line")
        if settings or description:
            text = [*_comment(description), *(f"{key}: {value}" for key, value in settings.items())]
            place = [index for index, block in enumerate(blocks) if _rank(_title(block)) > _rank(name)]
            blocks.insert(place[0] if place else len(blocks), (f"[{name}]", *text, ""))
        if not blocks:
            return replace(self, lines=tuple(main[: _last_text(main)]))
        if main and main[-1].strip():
            main.append("")
        joined: list[str] = main
        for block in blocks:
            if joined and joined[-1].strip():
                joined.append("")
            joined += block
        return replace(self, lines=tuple(joined))

    def _blocks(self) -> list[tuple[str, ...]]:
        """The sections, each with its title's line."""
        blocks: list[list[str]] = []
        for line in self.lines[self._main_end() :]:
            if _SECTION.fullmatch(line):
                blocks.append([])
            blocks[-1].append(line)
        return [tuple(block) for block in blocks]

    def _main_end(self) -> int:
        for index, line in enumerate(self.lines):
            if _SECTION.fullmatch(line):
                return index
        return len(self.lines)


def _title(block: Sequence[str]) -> str:
    match = _SECTION.fullmatch(block[0])
    assert match
    return match["name"]


def _rank(section: str) -> tuple[bool, bool, str]:
    """Where a section stands among the others."""
    return section != "PENDING", ":" not in section, section


def _key(line: str) -> str | None:
    match = _SETTING.fullmatch(line)
    return match["key"] if match and not line.startswith("#") else None


def _last_text(lines: list[str]) -> int:
    """The index after the last line that is not blank."""
    return max((index + 1 for index, line in enumerate(lines) if line.strip()), default=0)


def _comment(text: str) -> list[str]:
    """Notes as comment lines; control characters and ``%`` are percent-encoded, everything else stays."""
    return [
        "#" + "".join(quote(c) if ord(c) < 32 or c == "%" else c for c in line) for line in text.splitlines()
    ]
