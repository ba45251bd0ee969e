"""domains.cfg: the realms (sections ``type: name``, then indented ``key value`` lines).

``pam`` and ``pve`` are there whatever the file says. Lines that are not understood are kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from kvorum.core.errors import Conflict, KvorumError

FILE = "domains.cfg"

BUILT_IN: Mapping[str, str] = {
    "pam": "Linux PAM standard authentication",
    "pve": "Kvorum authentication server",
}
"""The realms that are always there, each of the type of its name, and what they say where nobody set it."""

_HEADER = re.compile(r"([a-z][a-z0-9-]*):\s*([A-Za-z][A-Za-z0-9.\-_]+)\s*")


@dataclass(frozen=True, slots=True)
class RealmEntry:
    """One realm as the file has it."""

    type: str
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def comment(self) -> str:
        """What the login dialog shows."""
        return self.options.get("comment", "")

    @property
    def default(self) -> bool:
        """Whether the login dialog offers it first."""
        return self.options.get("default") in ("1", "")


@dataclass(frozen=True, slots=True)
class RealmConfig:
    """All of domains.cfg; immutable."""

    realms: Mapping[str, RealmEntry]
    others: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> RealmConfig:
        """Read the file's text; it never fails."""
        realms: dict[str, RealmEntry] = {}
        others: list[str] = []
        options: dict[str, str] | None = None
        for line in text.splitlines():
            if not line.strip():
                continue
            key, _, value = line.strip().partition(" ")
            header = _HEADER.fullmatch(line)
            if header and header[2] not in realms:
                options = {}
                realms[header[2]] = RealmEntry(header[1], options)
            elif line[0] in " \t" and options is not None and key not in options and key[0] != "#":
                options[key] = value.strip()
            else:
                others.append(line)
                options = options if line[0] in " \t#" else None
        for name in BUILT_IN:
            if realms.setdefault(name, RealmEntry(name)).type != name:
                others += [f"# {realms[name].type}: {name}"]
                realms[name] = RealmEntry(name)
        return cls(realms, tuple(others))

    def render(self) -> str:
        """The file's text."""
        blocks = [
            f"{realm.type}: {name}\n"
            + "".join(f"\t{key} {value}".rstrip() + "\n" for key, value in realm.options.items())
            for name, realm in self.realms.items()
        ]
        if self.others:
            blocks.insert(0, "".join(f"{line}\n" for line in self.others))
        return "\n".join(blocks)

    def get(self, name: str) -> RealmEntry:
        """The realm of this name; raises ``KvorumError`` when there is none."""
        if name not in self.realms:
            raise KvorumError(f"domain '{name}' does not exist")
        return self.realms[name]

    def update(self, name: str, changes: Mapping[str, str], delete: tuple[str, ...] = ()) -> RealmConfig:
        """With options of one realm set or deleted; only one realm is the default."""
        entry = self.get(name)
        options = {key: value for key, value in entry.options.items() if key not in delete} | dict(changes)
        realms = dict(self.realms)
        if changes.get("default") == "1":
            realms = {n: _not_default(realm) for n, realm in realms.items()}
        realms[name] = replace(entry, options=options)
        return replace(self, realms=realms)

    def remove(self, name: str) -> RealmConfig:
        """Without one realm; raises for the built-in ones and for one that is not there."""
        self.get(name)
        if name in BUILT_IN:
            raise Conflict(f"realm '{name}' is always there and can't be removed")
        return replace(self, realms={n: realm for n, realm in self.realms.items() if n != name})


def _not_default(realm: RealmEntry) -> RealmEntry:
    return replace(realm, options={key: value for key, value in realm.options.items() if key != "default"})
