"""Which name this node has while it is being renamed: a power cut may leave its host name and corosync.conf
with two. A marker beside the database says that both are one node's; the one that is listed counts.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

RENAMING = "renaming-node"


def naming_text(old: str, new: str) -> str:
    """The marker's text."""
    return f"{old} {new}\n"


def listed_name(node: str, listed: Collection[str], marker: Path) -> str:
    """``node``, or its other name by the marker if that one is listed and ``node`` is not."""
    if node in listed:
        return node
    try:
        names = marker.read_text().split()
    except (OSError, UnicodeDecodeError):
        return node
    other = [name for name in names if name != node and name in listed]
    return other[0] if node in names and other else node
