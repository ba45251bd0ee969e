"""Who waits for this member's disk, and how each is told: by a whisper, or aloud in the group's order.

Who asks while our disk is at work waits for that, and not for a lost whisper; who was told already is told
again, aloud. What is said is a fact about a disk, so it does not matter when it arrives: who hears it late
has left the view, and who is asked twice says it twice. Places are numbers of the view's order. Pure.
"""

from __future__ import annotations

import msgspec

from kvorum.store.protocol.aloud import Aloud


class Telling(msgspec.Struct, frozen=True):
    """Who is to be told now."""

    all: bool = False
    """In the group's order, and so everyone."""
    alone: tuple[int, ...] = ()


NOBODY = Telling()


class Owing:
    """What this member owes to the others of one view."""

    def __init__(self, aloud: Aloud) -> None:
        """A view begins, and all wait for its beginning."""
        self._aloud = aloud
        self._all: int | None = 0
        """The place whose sync is to be told aloud."""
        self._alone: dict[int, int] = {}
        """Member to the place whose sync is to be whispered to it."""

    def waits(self, member: int, place: int) -> None:
        """``member`` waits until everything up to ``place`` is on our disk."""
        if self._aloud.whispers(member, place):
            self._alone[member] = place
        else:
            self._all = place

    def asked(self, member: int, place: int, on_disk: int) -> None:
        """``member`` waits for a place; was it told, it is told again, aloud, and so is what comes soon."""
        if place <= on_disk:
            self._aloud.lost(member, place)
            self._all = place if self._all is None else max(self._all, place)

    def synced(self, place: int) -> Telling:
        """Everything up to ``place`` is on our disk: who is to be told of it?"""
        everyone = self._all is not None and self._all <= place
        if everyone:
            self._all = None
        if not self._alone:
            return Telling(all=True) if everyone else NOBODY
        heard = tuple(member for member, waited in self._alone.items() if waited <= place)
        for member in heard:
            del self._alone[member]
        return Telling(everyone, () if everyone else heard)
