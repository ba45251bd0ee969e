"""What the cluster's files say of a node by its name, said by its new one; the rest stays as it is. Pure.

Also the list of former names, ``renamed-nodes.json``: by it a task's id, a bookmark or a script that still
has the old name finds the node, as long as no other node has that name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

FORMER = "renamed-nodes.json"
KEPT = 100
"""How many former names are remembered; the oldest are forgotten first."""
_HOST = re.compile(r"[^\s,]+")


@dataclass(frozen=True, slots=True)
class Former:
    """A name that a node had."""

    old: str
    new: str
    time: int
    """Unix seconds."""
    by: str


def read_former(text: str) -> tuple[Former, ...]:
    """The list, oldest first; what can't be read counts as nothing."""
    try:
        return tuple(Former(r["old"], r["new"], int(r["time"]), r["by"]) for r in json.loads(text))
    except (ValueError, KeyError, TypeError):
        return ()


def with_former(text: str, former: Former) -> str:
    """The list's text with one more: a name that is taken anew is nobody's former one."""
    rows = [row for row in read_former(text) if row.old not in (former.old, former.new)]
    return json.dumps([asdict(row) for row in [*rows, former][-KEPT:]], indent=1) + "\n"


def present_name(text: str, name: str) -> str:
    """What a node is called now that once had a name; the name itself if none had it."""
    now = {row.old: row.new for row in read_former(text)}
    for _ in now:
        name = now.get(name, name)
    return name


def renamed(path: str, text: str, old: str, new: str) -> str:
    """A file's text with the node's new name where it names the node."""
    return _RENAMERS[path](text, old, new) if path in _RENAMERS else text


def hosts(text: str, old: str, new: str) -> str:
    """/etc/hosts (hosts(5)) with the new name for the old, alone or with a domain; comments stay."""

    def word(match: re.Match[str]) -> str:
        name, dot, domain = match[0].partition(".")
        return f"{new}{dot}{domain}" if name == old else match[0]

    lines = []
    for line in text.splitlines(keepends=True):
        entry, hash, comment = line.partition("#")
        address = re.match(r"\s*\S+", entry)
        at = address.end() if address else 0
        lines.append(entry[:at] + re.sub(r"[^\s]+", word, entry[at:]) + hash + comment)
    return "".join(lines)


def _lists(text: str, old: str, new: str) -> str:
    """Sections with ``nodes a,b:2``."""

    def line(one: str) -> str:
        match = re.fullmatch(r"(\s+nodes\s+)(.*?)(\s*)", one, re.DOTALL)
        if match is None:
            return one
        names = re.sub(r"[^,;\s:]+(?=:\d|[,;\s]|$)", lambda m: new if m[0] == old else m[0], match[2])
        return match[1] + names + match[3]

    return _lines(text, line)


def _values(*keys: str) -> Callable[[str, str, str], str]:
    """Sections with ``key NODE``."""

    def change(text: str, old: str, new: str) -> str:
        pattern = re.compile(rf"(\s+(?:{'|'.join(keys)})\s+){re.escape(old)}(\s*)", re.DOTALL)

        def line(one: str) -> str:
            match = pattern.fullmatch(one)
            return f"{match[1]}{new}{match[2]}" if match else one

        return _lines(text, line)

    return change


def _users(text: str, old: str, new: str) -> str:
    """Rights on ``/nodes/NODE`` and below it."""

    def line(one: str) -> str:
        parts = one.split(":")
        if parts[0] != "acl" or len(parts) < 3:
            return one
        path = parts[2].strip()
        if path == f"/nodes/{old}" or path.startswith(f"/nodes/{old}/"):
            parts[2] = f"/nodes/{new}{path.removeprefix(f'/nodes/{old}')}"
        return ":".join(parts)

    return _lines(text, line)


def _known_hosts(text: str, old: str, new: str) -> str:
    def line(one: str) -> str:
        first, blank, rest = one.partition(" ")
        names = [
            new if host == old else f"[{new}]{host[len(old) + 2 :]}" if host.startswith(f"[{old}]") else host
            for host in first.split(",")
        ]
        return ",".join(names) + blank + rest

    return _lines(text, line)


def _authorized_keys(text: str, old: str, new: str) -> str:
    return _lines(text, lambda one: re.sub(rf"(?<=\s)root@{re.escape(old)}(?=\s*$)", f"root@{new}", one))


def _json(text: str, old: str, new: str) -> str:
    """Every key and value that is the name: of HA's state, and of join tokens."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    changed = _deep(value, old, new)
    return text if changed == value else json.dumps(changed, indent=1) + "\n"


def _deep(value: object, old: str, new: str) -> object:
    if isinstance(value, dict):
        return {new if key == old else key: _deep(item, old, new) for key, item in value.items()}
    if isinstance(value, list):
        return [_deep(item, old, new) for item in value]
    return new if value == old else value


def _lines(text: str, change: Callable[[str], str]) -> str:
    return "".join(change(line) for line in text.splitlines(keepends=True))


_RENAMERS: Mapping[str, Callable[[str, str, str], str]] = {
    "storage.cfg": _lists,
    "ha/rules.cfg": _lists,
    "ha/groups.cfg": _lists,
    "ha/manager_status": _json,
    "replication.cfg": _values("target", "source"),
    "jobs.cfg": _values("node"),
    "user.cfg": _users,
    "priv/known_hosts": _known_hosts,
    "priv/authorized_keys": _authorized_keys,
    "priv/join-tokens.json": _json,
}
FILES = tuple(_RENAMERS)
"""The files outside of the node's own folder that may name it."""
