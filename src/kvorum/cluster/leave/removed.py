"""The list of nodes that left, ``removed-nodes.json``: by it one that comes back with its old state is told.

A node is known by its certificate's fingerprint: a later node of the same name has another. Pure.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

FILE = "removed-nodes.json"
KEPT = 100
"""How many are remembered; the oldest are forgotten first."""


@dataclass(frozen=True, slots=True)
class Removed:
    """A node that left, or was removed."""

    node: str
    fingerprint: str
    """SHA-256 of its ``pve-ssl.pem``."""
    time: int
    """Unix seconds."""
    by: str


def read(text: str) -> tuple[Removed, ...]:
    """The list, oldest first; what can't be read counts as nothing."""
    try:
        rows = json.loads(text)
        return tuple(Removed(r["node"], r["fingerprint"], int(r["time"]), r["by"]) for r in rows)
    except (ValueError, KeyError, TypeError):
        return ()


def added(text: str, removed: Removed) -> str:
    """The list's text with one more."""
    rows = [*read(text), removed][-KEPT:]
    return json.dumps([asdict(row) for row in rows], indent=1) + "\n"


def find(text: str, fingerprint: str) -> Removed | None:
    """The node with this certificate, if it left."""
    return next((row for row in reversed(read(text)) if row.fingerprint == fingerprint.upper()), None)
