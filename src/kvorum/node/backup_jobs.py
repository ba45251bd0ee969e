"""Which guests the backup jobs cover. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from kvorum.core.sections import Section


def covered(jobs: Iterable[Section], owners: Mapping[int, str], users: str) -> set[int]:
    """The guests that some enabled job backs up; ``users`` is user.cfg's text, for the pools."""
    found: set[int] = set()
    for job in jobs:
        options = job.options
        if options.get("enabled", "1") in ("0", "no", "off", "false"):
            continue
        if options.get("all", "0") not in ("0", "no", "off", "false"):
            node = options.get("node")
            wanted = {vmid for vmid, owner in owners.items() if node in (None, owner)}
            found |= wanted - _ids(options.get("exclude", ""))
        elif "pool" in options:
            found |= _pool(users, options["pool"])
        else:
            found |= _ids(options.get("vmid", ""))
    return found


def _ids(text: str) -> set[int]:
    return {int(word) for word in re.split(r"[,;\s]+", text) if word.isdigit()}


def _pool(users: str, pool: str) -> set[int]:
    """The guests of a pool: ``pool:ID:comment:vmids:storages:`` in user.cfg."""
    for line in users.splitlines():
        parts = line.split(":")
        if len(parts) > 3 and parts[0] == "pool" and parts[1] == pool:
            return _ids(parts[3])
    return set()
