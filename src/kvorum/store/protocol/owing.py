"""Who waits for this member's disk, and how each is told: by a whisper, or aloud in the group's order.

A whisper to the one who waits spares the group a message in its order, which costs every node its turns on
a processor. It may be lost: who waits in vain asks in the group, and is answered aloud, for a while, if it
was told already. Who asks while our disk is at work waits for that, and not for a lost whisper. What is
said is a fact about a disk, so it does not matter when it arrives: who hears it late has left the view, and
who is asked twice says it twice. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ALOUD_VERSIONS = 8
"""How many further versions are told aloud to who had to ask; twice as many when it has to ask again soon."""
ALOUD_MAX = 1024
"""As many for who is not reached at all (a firewall)."""


@dataclass(frozen=True, slots=True)
class Telling:
    """Who is to be told now."""

    all: bool = False
    """In the group's order, and so everyone."""
    alone: tuple[int, ...] = ()


class Owing:
    """What this member owes to the others of one view."""

    def __init__(self) -> None:
        self._reached: frozenset[int] = frozenset()
        self._all = 0
        """The version whose sync is to be told aloud; 0 when none is."""
        self._alone: dict[int, int] = {}
        """Member to the version whose sync is to be whispered to it."""
        self._aloud: dict[int, tuple[int, int]] = {}
        """Member to the version up to which it is told aloud, and how many that were."""

    def begin(self, version: int, reach: Mapping[int, bytes]) -> None:
        """A view begins with ``version``, for which all wait; ``reach`` has who can be whispered to."""
        self._reached = frozenset(reach)
        self._all = version
        self._alone, self._aloud = {}, {}

    def waits(self, member: int, version: int) -> None:
        """``member`` waits until this version is on our disk."""
        if member not in self._reached or version <= self._aloud.get(member, (0, 0))[0]:
            self._all = version
        else:
            self._alone[member] = version

    def asked(self, member: int, version: int, on_disk: int) -> None:
        """``member`` waits for a version; was it told, it is told again, aloud, and so is what comes soon."""
        if version <= on_disk:
            until, span = self._aloud.get(member, (0, 0))
            again = until and version <= until + ALOUD_VERSIONS
            span = min(2 * span, ALOUD_MAX) if again else ALOUD_VERSIONS
            self._aloud[member] = version + span, span
            self._all = max(self._all, version)

    def synced(self, version: int) -> Telling:
        """Everything up to ``version`` is on our disk: who is to be told of it?"""
        everyone = 0 < self._all <= version
        if everyone:
            self._all = 0
        heard = tuple(member for member, waited in self._alone.items() if waited <= version)
        for member in heard:
            del self._alone[member]
        return Telling(everyone, () if everyone else heard)
