"""How fast a copy may go (``bwlimit``): the limits of the cluster and of the storages that it touches. Pure.

A storage's own limit comes before the cluster's, one for the operation before the ``default``; of all
storages that a copy touches the smallest counts. Who may allocate on a storage (``Datastore.Allocate``) may
ask for more than its limit, also for none (0); everybody may ask for less. All in KiB/s; 0 is no limit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from kvorum.core import property_string

OPERATIONS = ("clone", "default", "migration", "move", "restore")
_NUMBER = re.compile(r"\d+(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Touched:
    """A storage that a copy reads or writes."""

    bwlimit: str
    """Its setting; empty: none of its own."""
    exceeds: bool
    """Whether the user may ask for more than its limit."""


def check(text: str) -> None:
    """Check a ``bwlimit`` setting; raises ``ValueError``."""
    for key, value in property_string.parse(text).items():
        if key not in OPERATIONS:
            raise ValueError(f"'{key}' is no operation")
        if not _NUMBER.fullmatch(value):
            raise ValueError(f"{key}={value} is no number of KiB/s, 0 or more")


def rate_kib_s(operation: str, asked: int | None, cluster: str, touched: Iterable[Touched]) -> int:
    """The rate of a copy that touches these storages; ``asked``: what the user wants, if anything."""
    common = _limit(cluster, operation)
    binding = [] if asked is None else [asked]
    for storage in touched:
        own = _limit(storage.bwlimit, operation)
        limit = common if own is None else own
        if limit and not (asked is not None and storage.exceeds):
            binding.append(limit)
    return min(filter(None, binding), default=0)


def _limit(text: str, operation: str) -> int | None:
    """A setting's limit for an operation; ``None`` where it has none, as where it is wrong."""
    try:
        limits = property_string.parse(text) if text else {}
        found = limits.get(operation, limits.get("default"))
        return None if found is None else max(1, round(float(found))) if float(found) else 0
    except ValueError:
        return None
