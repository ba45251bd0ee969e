"""Leases: rights that one owner in the cluster has at a time, in memory only, for as long as it renews them.

Pure. Promise: no two owners hold one name at once, as long as clocks run alike to within ``MARGIN_SECONDS``.

An owner counts from when it asked, and only what every member of a writable view has heard. Who wants a
lease that another holds waits until it has heard no renewal for the whole of its time and a margin, which is
later than the owner's own end: it heard of each renewal after it was asked for. Whether a claim counts is
decided by the group's total order alone: it names the grant that it follows, and a grant is followed once.

A view takes over the leader's leases: what was granted in the newest view all its members have heard. Where
nobody remembers (all were restarted, or an admin adopted a history), nothing is granted for the longest
time that a forgotten lease may still run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kvorum.store.names import LEASE_SECONDS_MAX
from kvorum.store.protocol.messages import Hold, Lease

MARGIN_SECONDS = 1.0
"""Clocks are told twice a second, and may drift."""
SECONDS_MAX = LEASE_SECONDS_MAX
LEASES_MAX = 1024
"""One that ran out is kept until another follows it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a lease can't be had; ``text`` is a sentence."""

    text: str


class Leases:
    """What this replica knows of leases. Times are those of the clock it is told."""

    def __init__(self, seconds_max: float = SECONDS_MAX) -> None:
        """``seconds_max`` is the longest lease that anyone asks for."""
        self._seconds_max = seconds_max
        self.count = 0
        """The number of the last grant."""
        self._now = 0.0
        self._leases: dict[str, Lease] = {}
        self._heard: dict[str, float] = {}
        """When each lease was last granted or renewed, as this replica heard."""
        self._remembers_from = seconds_max + MARGIN_SECONDS
        """From then on nothing can run that this replica does not know of."""

    @property
    def leases(self) -> tuple[Lease, ...]:
        """All leases, the expired ones that nobody followed too."""
        return tuple(self._leases.values())

    def clock(self, now: float) -> None:
        """It is ``now``; the first time says when this replica began."""
        if not self._now:
            self._remembers_from += now
        self._now = now

    def follows(self, name: str, owner: str) -> int | Refusal:
        """The grant that a claim of ``owner`` has to follow (0: none), or why it may not be made."""
        held = self._leases.get(name)
        if held is not None and held.owner == owner:
            return held.number
        if left := self.forgotten_for:
            return Refusal(f"'{name}' can't be had for another {left:.0f} s: who held it before is not known")
        if held is None:
            if len(self._leases) >= LEASES_MAX:
                return Refusal(f"there are {LEASES_MAX} leases already: '{name}' is one too many")
            return 0
        left = self._heard[name] + held.seconds + MARGIN_SECONDS - self._now
        if left > 0:
            return Refusal(f"'{name}' is held by {held.owner} for another {left:.0f} s, unless it is renewed")
        return held.number

    def take(self, hold: Hold) -> bool:
        """A claim, in the one order of all; whether it counts. No seconds let the lease go."""
        held = self._leases.get(hold.name)
        if hold.follows != (held.number if held else 0):
            return False
        self.count += 1
        if hold.seconds > 0:
            # A renewal does not shorten: its owner may never hear that it counts, and go by the one before.
            before = held.seconds if held is not None and held.owner == hold.owner else 0.0
            seconds = max(before, hold.seconds)
            self._leases[hold.name] = Lease(hold.name, hold.owner, seconds, self.count)
            self._heard[hold.name] = self._now
        else:
            self._leases.pop(hold.name, None)
            self._heard.pop(hold.name, None)
        return True

    @property
    def forgotten_for(self) -> float:
        """Seconds for which a lease may still run that is not known here."""
        return max(0.0, self._remembers_from - self._now)

    def adopt(self, leases: Iterable[Lease], count: int, forgotten_for: float) -> None:
        """Go on with the leader's leases, grants and ``forgotten_for``."""
        self._leases = {lease.name: lease for lease in leases}
        self._heard = dict.fromkeys(self._leases, self._now)
        self.count = count
        self._remembers_from = self._now + forgotten_for

    def forget(self) -> None:
        """Leases may run that no member knows of."""
        self._remembers_from = self._now + self._seconds_max + MARGIN_SECONDS
