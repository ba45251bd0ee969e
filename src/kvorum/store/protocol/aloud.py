"""To whom this member whispers, and to whom it speaks in the group for a while, since a whisper was lost.

A whisper spares the group a message in its order, which costs every node its turns on a processor. It may be
lost, once or always (a firewall): whoever lacked one is told aloud what comes soon, and for longer each time
that it happens again soon. Positions are numbers of the view's order. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

ALOUD_PLACES = 8
"""For how many further places one is told aloud; twice as many when it happens again soon."""
ALOUD_MAX = 1024
"""As many for who is not reached at all."""


class Aloud:
    """How the members of one view are reached."""

    def __init__(self, reached: Iterable[int] = ()) -> None:
        """``reached`` are the members that can be whispered to."""
        self._reached = frozenset(reached)
        self._until: dict[int, tuple[int, int]] = {}
        """Member to the place up to which it is told aloud, and how many places that were."""

    def whispers(self, member: int, place: int) -> bool:
        """Whether ``member`` is told by a whisper what is at ``place``."""
        return member in self._reached and place > self._until.get(member, (-1, 0))[0]

    def lost(self, member: int, place: int) -> None:
        """``member`` did not hear what was whispered of ``place``."""
        until, span = self._until.get(member, (-1, 0))
        again = span and place <= until + ALOUD_PLACES
        span = min(2 * span, ALOUD_MAX) if again else ALOUD_PLACES
        self._until[member] = place + span, span
