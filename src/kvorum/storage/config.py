"""storage.cfg: which storages the cluster has (sections ``type: id``, then indented ``key value`` lines).

Parsing keeps everything: unknown kinds, unknown keys, comments and order, so that an edit changes only the
lines it means to. A wrong or unknown setting is noted at its storage (``StorageEntry.wrong``): that one can't
be used until it is set right, all others can. Where no storage can be told, the whole file is refused.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from kvorum.core import ids, property_string
from kvorum.storage.errors import StorageConfigError, StorageError

FILE = "storage.cfg"
CONTENT_TYPES = ("images", "rootdir", "vztmpl", "iso", "backup", "snippets", "import", "none")

_HEADER = re.compile(r"(?P<type>[a-z][a-z0-9]*):\s*(?P<id>\S+)\s*")
_KEYS = {
    "dir": ("path", "content", "nodes", "shared", "disable", "format", "preallocation", "mkdir",
            "create-base-path", "create-subdirs", "is_mountpoint", "content-dirs", "prune-backups",
            "maxfiles", "max-protected-backups", "bwlimit", "snapshot-as-volume-chain"),
}  # fmt: skip
"""The keys of each kind that we support."""
_BOOLEANS = frozenset({"shared", "disable", "mkdir", "create-base-path", "create-subdirs", "nocow", "sparse"})


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
        return tuple(sorted(_words(self.options.get("content", "images,rootdir"))))

    @property
    def nodes(self) -> frozenset[str]:
        """The nodes that have this storage; empty means all."""
        return frozenset(_words(self.options.get("nodes", "")))

    @property
    def shared(self) -> bool:
        """Whether all its nodes see the same data."""
        return _is_on(self.options.get("shared"))

    @property
    def disabled(self) -> bool:
        """Whether the admin switched it off."""
        return _is_on(self.options.get("disable"))

    def available_on(self, node: str) -> bool:
        """Whether this node is meant to have the storage, switched on."""
        return not self.disabled and (not self.nodes or node in self.nodes)


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
    known = _KEYS.get(entry.type)
    for key in entry.options:
        if known is not None and key not in known:
            near = difflib.get_close_matches(key, known, 1)
            cause = f"it is unknown, '{near[0]}' is not" if near else "it is unknown"
            raise wrong(key, cause, ", ".join(known))
    if entry.type == "dir" and not entry.path.startswith("/"):
        raise wrong("path", f"'{entry.path}' is no absolute path", "a path that begins with '/'")
    if any(ord(c) < 32 for value in entry.options.values() for c in value):
        raise wrong("value", "holds a control character", "printable characters")
    for word in _words(entry.options.get("content", "")):
        if word not in CONTENT_TYPES:
            raise wrong("content", f"'{word}' is no content type", ", ".join(CONTENT_TYPES))
    for word in _words(entry.options.get("nodes", "")):
        try:
            ids.node_name(word)
        except ValueError as error:
            raise wrong("nodes", str(error), "node names, separated by commas") from None
    for key in _BOOLEANS & entry.options.keys():
        try:
            _flag(entry.options[key])
        except ValueError as error:
            raise wrong(key, str(error), "1, 0, or the key alone for 1") from None


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[,;\s]+", text) if word]


def _flag(text: str | None) -> bool:
    """A boolean option: absent is false, the bare key is true."""
    return False if text is None else text == "" or property_string.boolean(text)


def _is_on(text: str | None) -> bool:
    """A boolean option, off also where its value is wrong (``StorageEntry.wrong`` says so)."""
    try:
        return _flag(text)
    except ValueError:
        return False
