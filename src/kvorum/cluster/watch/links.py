"""How a node's links are, from what Corosync counts of them (``stats.knet`` in cmap_keys(7)). Pure.

Loss is that of round trips: of the pings that Corosync sends on a link all the time, how many nobody answered
in the last minute. A link that loses a tenth of its frames each way loses a fifth of its pings.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias

WINDOW_S = 60.0
"""Over this time loss is counted."""
LOSS_PERCENT, LOSS_OVER_PERCENT = 5.0, 2.0
"""From here on it is warned of; from there on it is over. A value between leaves it as it was."""
SLOW_US, SLOW_OVER_US = 10_000, 6_000
"""The same for latency: Corosync's token, 1 s, goes round all nodes, and each change with it."""
_LEAST_PINGS = 30
"""Of fewer nothing is said: one lost one would be much."""

Key: TypeAlias = tuple[int, int]
"""A peer's node id and a link's number."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What Corosync says of one link to one peer now."""

    connected: bool
    latency_us: int
    """Round trips on average, over ten minutes at most; 0 before the first."""
    pings: int
    pongs: int
    downs: int
    """How often it went down since this node's corosync started."""


@dataclass(frozen=True, slots=True)
class Sample:
    """All links at one moment (seconds of a monotonic clock)."""

    at: float
    links: Mapping[Key, Counted]


@dataclass(frozen=True, slots=True)
class LinkState:
    """One link to one peer."""

    nodeid: int
    link: int
    connected: bool
    latency_us: int
    loss_percent: float | None
    """``None`` while too few pings were sent to tell."""
    downs: int


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong with a link: ``down``, ``loss`` or ``slow``."""

    kind: str
    nodeid: int
    link: int


def kept(samples: tuple[Sample, ...], new: Sample) -> tuple[Sample, ...]:
    """The samples that are still of use, oldest first: one may be older than the window."""
    young = [sample for sample in samples if new.at - sample.at < WINDOW_S]
    older = samples[: len(samples) - len(young)][-1:]
    return (*older, *young, new)


def measured(samples: tuple[Sample, ...]) -> tuple[LinkState, ...]:
    """Each link as it is by the newest sample, its loss since the oldest that knows the same connection."""
    newest = samples[-1]
    return tuple(
        LinkState(nodeid, link, now.connected, now.latency_us, _loss(samples, (nodeid, link)), now.downs)
        for (nodeid, link), now in sorted(newest.links.items())
    )


def _loss(samples: tuple[Sample, ...], key: Key) -> float | None:
    now = samples[-1].links[key]
    for sample in samples[:-1]:
        before = sample.links.get(key)
        if before is None or before.pings > now.pings or before.pongs > now.pongs:
            continue  # corosync, or the link, began anew since
        sent, answered = now.pings - before.pings, now.pongs - before.pongs
        if sent < _LEAST_PINGS:
            return None
        # The newest ping may still be under way.
        return round(100.0 * max(sent - 1 - answered, 0) / sent, 1)
    return None


def troubles(
    states: Collection[LinkState], members: Collection[int], had: Collection[Trouble]
) -> frozenset[Trouble]:
    """What is wrong with links to peers that are members; of a node that is away quorum speaks.

    ``had`` is what was wrong before: a value just below a limit does not end it.
    """
    found = set()
    for state in states:
        if state.nodeid not in members:
            continue
        down, loss, slow = (Trouble(kind, state.nodeid, state.link) for kind in ("down", "loss", "slow"))
        if not state.connected:
            found.add(down)
            continue
        if state.loss_percent is not None and state.loss_percent >= (
            LOSS_OVER_PERCENT if loss in had else LOSS_PERCENT
        ):
            found.add(loss)
        if state.latency_us >= (SLOW_OVER_US if slow in had else SLOW_US):
            found.add(slow)
    return frozenset(found)


def sentence(trouble: Trouble, state: LinkState, nodes: tuple[str, str], links: int) -> str:
    """What is to be said; ``links`` is how many the cluster has."""
    where = f"Link {trouble.link} between {nodes[0]} and {nodes[1]}"
    if trouble.kind == "down":
        rest = (
            "Corosync goes on by the others; look at its cable, switch and address (pvecm link status)."
            if links > 1
            else "look at its cable, switch and address."
        )
        return f"{where} is down: {rest}"
    if trouble.kind == "loss":
        return (
            f"{where} loses frames: {state.loss_percent or 0:g} % of the last minute's pings were not "
            "answered; Corosync sends anew what is lost, and from some point on throws nodes out."
        )
    return (
        f"{where} is slow: {state.latency_us / 1000:.1f} ms there and back on average; each change waits for "
        "that, and Corosync wants a few ms at most."
    )
