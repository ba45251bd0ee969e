"""In which order a node's guests are started and switched off, as their ``startup`` says. Pure.

Guests of one order go together, small orders first, those without any last; switched off in reverse. The
next group waits for the one before, and for the longest ``up`` among it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kvorum.guests.config.hardware import Startup


@dataclass(frozen=True, slots=True)
class Group:
    """Guests that go together."""

    vmids: tuple[int, ...]
    pause_s: int
    """How long the next group waits once these have started."""


def groups(startups: Mapping[int, Startup]) -> list[Group]:
    """The groups in the order of their start, each sorted by id."""

    def place(vmid: int) -> tuple[bool, int]:
        order = startups[vmid].order
        return (order is None, order or 0)

    ordered = sorted(startups, key=lambda vmid: (place(vmid), vmid))
    found = [tuple(vmids) for _, vmids in itertools.groupby(ordered, key=place)]
    return [Group(vmids, max(startups[vmid].up_s or 0 for vmid in vmids)) for vmids in found]


def backwards(startups: Mapping[int, Startup]) -> Sequence[Group]:
    """The groups in the order in which they are switched off; nobody waits longer than for that."""
    return [Group(group.vmids, 0) for group in reversed(groups(startups))]
