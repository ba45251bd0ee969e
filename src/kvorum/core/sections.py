"""Section files as the cluster's lists have them: ``type: id``, then indented ``key value`` lines.

replication.cfg, jobs.cfg and ha/*.cfg are such files. This is for reading them; who edits one keeps the rest
of its text by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Section:
    """One section; a key that stands alone has the value ``1``."""

    type: str
    id: str
    options: Mapping[str, str]


def parse(text: str) -> tuple[Section, ...]:
    """All sections in their order; lines that belong to none mean nothing."""
    found: list[Section] = []
    options: dict[str, str] = {}
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0].isspace():
            key, _, value = line.strip().partition(" ")
            options[key] = value.strip() or "1"
            continue
        type, colon, id = line.partition(":")
        options = {}
        if colon and id.strip():
            found.append(Section(type.strip(), id.strip(), options))
    return tuple(found)
