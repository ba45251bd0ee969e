"""Whether a node is still reachable after its network was changed, or takes the old configuration back. Pure.

What answered before must answer again: the other nodes, quorum, a default gateway. And who asked for the
change over the network must be heard from over it once more. What was silent before is not asked of the
new configuration.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

CONFIRM_S = 60
"""So long after it was applied the new configuration may take to prove itself, unless told otherwise."""
SETTLE_S = 5.0
"""So long all must have answered without a break where there are other nodes: Corosync calls a node dead
after three seconds, so a link that is cut would be noticed by then."""


@dataclass(frozen=True, slots=True)
class Sight:
    """Who is reachable from here at one moment."""

    nodes: frozenset[str] = frozenset()
    """The other nodes of the cluster that answer."""
    quorate: bool = False
    gateway: bool = False
    """A default gateway answers."""


class Verdict(enum.Enum):
    """What becomes of the new configuration."""

    WAIT = "wait"
    KEEP = "keep"
    BACK = "back"


@dataclass(frozen=True, slots=True)
class Trial:
    """A new configuration under watch; ``look`` takes what is seen and returns the trial that goes on."""

    before: Sight
    remote: bool
    """Who asked came over the network."""
    confirm_s: float = CONFIRM_S
    heard: bool = False
    """Who asked has been heard from since."""
    answered_since_s: float | None = None
    """Since when all of it answers; ``None`` while something does not."""
    verdict: Verdict = Verdict.WAIT
    why: str = ""
    """The sentence of the verdict; while it waits, what it waits for."""

    def hear(self) -> Trial:
        """Who asked has called again."""
        return replace(self, heard=True)

    def look(self, now: Sight, after_s: float) -> Trial:
        """Judge what is seen ``after_s`` seconds after the configuration was applied."""
        lacking = self._lacking(now)
        since = None if lacking else after_s if self.answered_since_s is None else self.answered_since_s
        verdict, why = Verdict.WAIT, ", ".join(lacking)
        if since is not None and after_s - since >= (SETTLE_S if self.before.nodes else 0):
            verdict, why = Verdict.KEEP, self._proof()
        elif after_s >= self.confirm_s:
            why = why or "it did not last"
            verdict, why = (
                Verdict.BACK,
                f"within {self.confirm_s:g} s the node was not reachable again: {why}",
            )
        return replace(self, answered_since_s=since, verdict=verdict, why=why)

    def _lacking(self, now: Sight) -> list[str]:
        """What answered before and does not."""
        lacking = []
        if gone := sorted(self.before.nodes - now.nodes):
            lacking.append(f"no answer from {', '.join(gone)}")
        if self.before.quorate and not now.quorate:
            lacking.append("no quorum")
        if self.before.gateway and not now.gateway:
            lacking.append("no answer from a default gateway")
        if self.remote and not self.heard:
            lacking.append("nothing heard from who asked for the change")
        return lacking

    def _proof(self) -> str:
        """What speaks for the node's being reachable."""
        proofs = []
        if self.before.nodes:
            proofs.append(f"{', '.join(sorted(self.before.nodes))} answer")
        if self.before.gateway:
            proofs.append("the default gateway answers")
        if self.remote:
            proofs.append("who asked was heard from")
        if not proofs:
            return "there is no other node, gateway or client to tell whether this node is reachable"
        return f"the node is reachable: {', '.join(proofs)}"
