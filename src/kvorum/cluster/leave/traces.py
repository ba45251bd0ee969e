"""What the cluster's files say of one node, taken out of them; the rest of each text stays as it is. Pure.

A setting that held for this node alone goes (else it would hold for all); a list of nodes loses one name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias

Notes: TypeAlias = list[str]
_HEADER = re.compile(r"(?P<type>[a-z][a-z0-9-]*):\s*(?P<id>\S+)\s*")


@dataclass(frozen=True, slots=True)
class Names:
    """What a node is called in files."""

    node: str
    addresses: Collection[str]


def cleaned(path: str, text: str, names: Names) -> tuple[str, Notes]:
    """The text without the node, and a sentence for each thing that admins should know of."""
    cleaner = _CLEANERS.get(path)
    return cleaner(text, names) if cleaner else (text, [])


def _storages(text: str, names: Names) -> tuple[str, Notes]:
    return _sections(
        text,
        names.node,
        lambda id: f"storage '{id}' was on node '{names.node}' alone: its definition is gone, not its data",
    )


def _rules(text: str, names: Names) -> tuple[str, Notes]:
    return _sections(
        text, names.node, lambda id: f"the HA rule '{id}' named node '{names.node}' alone: it is gone"
    )


def _sections(text: str, node: str, alone: Callable[[str], str]) -> tuple[str, Notes]:
    """Take a node out of each section's ``nodes``; a section that named no other goes."""
    kept, notes = [], Notes()
    for id, lines in _split(text):
        at = next((n for n, line in enumerate(lines) if line.split()[:1] == ["nodes"]), None)
        if id and at is not None:
            key, _, value = lines[at].strip().partition(" ")
            entries = [entry for entry in re.split(r"[,;\s]+", value) if entry]
            left = [entry for entry in entries if entry.partition(":")[0] != node]
            if entries and not left:
                notes.append(alone(id))
                continue
            if left != entries:
                lines[at] = f"\t{key} {','.join(left)}\n"
        kept += lines
    return "".join(kept), notes


def _replication(text: str, names: Names) -> tuple[str, Notes]:
    """Jobs to the node, and from it, go."""
    kept, notes = [], Notes()
    for id, lines in _split(text):
        if id and any(line.split()[:2] in (["target", names.node], ["source", names.node]) for line in lines):
            notes.append(f"the replication job '{id}' was to or from node '{names.node}': it is gone")
            continue
        kept += lines
    return "".join(kept), notes


def _jobs(text: str, names: Names) -> tuple[str, Notes]:
    """A job that ran on the node alone is switched off, since without ``node`` it would run everywhere."""
    kept, notes = [], Notes()
    for id, lines in _split(text):
        if id and any(line.split()[:2] == ["node", names.node] for line in lines):
            notes.append(f"the job '{id}' ran on node '{names.node}' alone: it is switched off")
            lines = [line for line in lines if line.split()[:1] not in (["node"], ["enabled"])]
            lines.insert(1, "\tenabled 0\n")
        kept += lines
    return "".join(kept), notes


def _users(text: str, names: Names) -> tuple[str, Notes]:
    """Rights on the node go, so that a later one of its name begins without."""
    gone, kept = 0, []
    for line in text.splitlines(keepends=True):
        parts = line.split(":")
        path = parts[2].strip() if parts[0] == "acl" and len(parts) > 2 else ""
        if f"{path}/".startswith(f"/nodes/{names.node}/"):
            gone += 1
        else:
            kept.append(line)
    notes = [f"{gone} rights on /nodes/{names.node} are gone"] if gone else []
    return "".join(kept), notes


def _known_hosts(text: str, names: Names) -> tuple[str, Notes]:
    wanted = {names.node, *names.addresses}

    def names_it(line: str) -> bool:
        hosts = line.split()[:1]
        return bool(hosts) and any(
            host.removeprefix("[").partition("]")[0] in wanted for host in hosts[0].split(",")
        )

    return "".join(line for line in text.splitlines(keepends=True) if not names_it(line)), []


def _authorized_keys(text: str, names: Names) -> tuple[str, Notes]:
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if line.split()[-1:] != [f"root@{names.node}"]), []


def _manager_status(text: str, names: Names) -> tuple[str, Notes]:
    try:
        status = json.loads(text)
    except ValueError:
        return text, []
    found = False
    if isinstance(status, dict):
        for value in status.values():
            if isinstance(value, dict) and value.pop(names.node, None) is not None:
                found = True
    return (json.dumps(status) if found else text), []


def _split(text: str) -> list[tuple[str, list[str]]]:
    """Blocks of lines: each section with its id, what stands before the first with none."""
    blocks: list[tuple[str, list[str]]] = [("", [])]
    for line in text.splitlines(keepends=True):
        match = _HEADER.fullmatch(line.rstrip("\n")) if line[:1].strip() else None
        if match:
            blocks.append((match["id"], []))
        blocks[-1][1].append(line if line.endswith("\n") else line + "\n")
    return blocks


_CLEANERS: Mapping[str, Callable[[str, Names], tuple[str, Notes]]] = {
    "storage.cfg": _storages,
    "replication.cfg": _replication,
    "jobs.cfg": _jobs,
    "user.cfg": _users,
    "ha/rules.cfg": _rules,
    "ha/groups.cfg": _rules,
    "ha/manager_status": _manager_status,
    "priv/known_hosts": _known_hosts,
    "priv/authorized_keys": _authorized_keys,
}

FILES = tuple(_CLEANERS)
"""The files outside of the node's own folder that may name it."""
