"""storage.cfg: which storages the cluster has (sections ``type: id``, then indented ``key value`` lines).

Parsing keeps everything: unknown kinds, unknown keys, comments and order, so that an edit changes only the
lines it means to. A wrong or unknown setting is noted at its storage (``StorageEntry.wrong``): that one can't
be used until it is set right, all others can. Where no storage can be told, the whole file is refused.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from kvorum.core import ids
from kvorum.storage import bandwidth
from kvorum.storage.entry import StorageEntry, flag, words
from kvorum.storage.errors import StorageConfigError, StorageError
from kvorum.storage.kinds import KINDS

FILE = "storage.cfg"
CONTENT_TYPES = ("images", "rootdir", "vztmpl", "iso", "backup", "snippets", "import", "none")

_HEADER = re.compile(r"(?P<type>[a-z][a-z0-9]*):\s*(?P<id>\S+)\s*")
_COMMON = ("content", "nodes", "disable", "bwlimit")
"""The keys that every kind has."""
_BOOLEANS = ("shared", "disable", "mkdir", "create-base-path", "create-subdirs", "nocow", "sparse")
_FORMS: Mapping[str, tuple[Callable[[str], object], str]] = {
    **dict.fromkeys(_BOOLEANS, (flag, "1, 0, or the key alone for 1")),
    "bwlimit": (
        bandwidth.check,
        f"numbers of KiB/s such as clone=1000, for {', '.join(bandwidth.OPERATIONS)}",
    ),
}
"""Values of a form that every kind shares: how they are read, and what is allowed."""


@dataclass(frozen=True, slots=True)
class StorageConfig:
    """All of storage.cfg; immutable, edits return a new one."""

    entries: tuple[StorageEntry, ...]
    trailing: tuple[str, ...] = field(default=())

    @classmethod
    def parse(cls, text: str) -> StorageConfig:
        """Parse the file's text; raises ``StorageConfigError`` for a line that belongs to no storage."""
        return _parse(text)

    def render(self) -> str:
        """The file's text: a section each, options in their order, a blank line between."""
        blocks = []
        for entry in self.entries:
            lines = [*entry.comments, f"{entry.type}: {entry.id}"]
            lines += [f"\t{key} {value}" if value else f"\t{key}" for key, value in entry.options.items()]
            blocks.append("\n".join(lines) + "\n")
        if self.trailing:
            blocks.append("\n".join(self.trailing) + "\n")
        return "\n".join(blocks)

    def get(self, storage: str) -> StorageEntry:
        """The storage of this name; raises ``StorageError`` naming those that exist."""
        for entry in self.entries:
            if entry.id == storage:
                return entry
        known = ", ".join(entry.id for entry in self.entries) or "none"
        raise StorageError(f"storage '{storage}' does not exist; {FILE} has: {known}")

    def add(self, entry: StorageEntry) -> StorageConfig:
        """With one more storage; raises ``StorageError`` when the id is taken or an option is wrong."""
        if any(other.id == entry.id for other in self.entries):
            raise StorageError(f"storage ID '{entry.id}' already defined")
        _check_entry(entry, {}, 0)
        return replace(self, entries=(*self.entries, entry))

    def update(self, storage: str, changes: Mapping[str, str], delete: tuple[str, ...] = ()) -> StorageConfig:
        """With options of one storage set or deleted; raises ``StorageError`` when that makes it wrong."""
        entry = self.get(storage)
        options = {key: value for key, value in entry.options.items() if key not in delete} | dict(changes)
        changed = replace(entry, options=options, wrong="")
        _check_entry(changed, {}, 0)
        return replace(self, entries=tuple(changed if e.id == storage else e for e in self.entries))

    def remove(self, storage: str) -> StorageConfig:
        """Without one storage; raises ``StorageError`` when it does not exist."""
        self.get(storage)
        return replace(self, entries=tuple(e for e in self.entries if e.id != storage))


def _parse(text: str) -> StorageConfig:
    entries: list[StorageEntry] = []
    comments: list[str] = []
    header: tuple[str, str, int] | None = None
    options: dict[str, str] = {}
    lines: dict[str, int] = {}
    pending: tuple[str, ...] = ()

    def close() -> None:
        nonlocal header
        if header is not None:
            entry = StorageEntry(header[0], header[1], dict(options), pending, header[2])
            if any(other.id == entry.id for other in entries):
                raise StorageConfigError(f"{FILE} line {header[2]}: storage '{entry.id}' is defined twice")
            try:
                _check_entry(entry, lines, header[2])
            except StorageConfigError as error:
                entry = replace(entry, wrong=str(error))
            entries.append(entry)
        header = None

    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        if line.lstrip().startswith("#"):
            comments.append(line)
        elif line[0] not in " \t":
            close()
            match = _HEADER.fullmatch(line)
            if not match:
                raise StorageConfigError(
                    f"{FILE} line {number}: '{line.strip()}' begins no storage; write 'TYPE: NAME'"
                )
            header, pending = (match["type"], match["id"], number), tuple(comments)
            comments, options, lines = [], {}, {}
        elif header is None:
            raise StorageConfigError(f"{FILE} line {number}: '{line.strip()}' stands in no storage's section")
        else:
            key, _, value = line.strip().partition(" ")
            if key in options:
                raise StorageConfigError(f"{FILE} line {number}: key '{key}' stands twice in '{header[1]}'")
            options[key], lines[key] = value.strip(), number
    close()
    return StorageConfig(tuple(entries), tuple(comments))


def _check_entry(entry: StorageEntry, lines: Mapping[str, int], header_line: int) -> None:
    """Raise ``StorageConfigError`` for the first unknown key or wrong value."""

    def wrong(key: str, cause: str, allowed: str) -> StorageConfigError:
        line = lines.get(key, header_line)
        where = f"{FILE} line {line}" if line else FILE
        return StorageConfigError(f"{where}: storage '{entry.id}', key '{key}': {cause}; allowed: {allowed}")

    try:
        ids.storage_name(entry.id)
    except ValueError as error:
        raise wrong("id", str(error), "letters, digits, '-', '_', '.'") from None
    kind = KINDS.get(entry.type)
    known = (*kind.keys, *_COMMON) if kind is not None else tuple(entry.options)
    for key in entry.options:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            cause = f"it is unknown, '{near[0]}' is not" if near else "it is unknown"
            raise wrong(key, cause, ", ".join(known))
    if kind is not None and (found := kind.wrong(entry)) is not None:
        raise wrong(found.key, found.cause, found.allowed)
    if any(ord(c) < 32 for value in entry.options.values() for c in value):
        raise wrong("value", "holds a control character", "printable characters")
    for word in words(entry.options.get("content", "")):
        if word not in CONTENT_TYPES:
            raise wrong("content", f"'{word}' is no content type", ", ".join(CONTENT_TYPES))
        if kind is not None and word not in (*kind.holds, "none"):
            raise wrong("content", f"a {entry.type} storage holds no '{word}'", ", ".join(kind.holds))
    for word in words(entry.options.get("nodes", "")):
        try:
            ids.node_name(word)
        except ValueError as error:
            raise wrong("nodes", str(error), "node names, separated by commas") from None
    for key in _FORMS.keys() & entry.options.keys():
        read, allowed = _FORMS[key]
        try:
            read(entry.options[key])
        except ValueError as error:
            raise wrong(key, str(error), allowed) from None
