"""Quorum explained: how many votes are needed, who is missing, what may still fail, what to do. Pure.

The wording is for people: it stands on the page and under ``pvecm status``. Corosync's quorum and the store's
leave to write are two things (``kvorum.store.protocol.views``); where they differ, both are said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kvorum.cluster.quorum.cautions import Caution, cautions
from kvorum.cluster.quorum.losses import Choice, Sets, losses, returns
from kvorum.cluster.quorum.shape import DEVICE, Shape, Voter, holds

_SHOWN = 8
"""Alternatives that a sentence names; the API has all."""


@dataclass(frozen=True, slots=True)
class StoreWord:
    """Whether /etc/pve may be changed on this node, and the store's sentence why not."""

    writable: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where the cluster stands."""

    quorate: bool
    """Corosync's quorum."""
    writable: bool
    """Whether configuration can be changed: ``quorate``, unless the store says otherwise."""
    total: int
    """All votes there are."""
    present: int
    """Votes that are here."""
    needed: int
    """Votes that make a quorum."""
    may_fail: int
    """How many voters may fail at once, whichever they are, and it still goes on; 0 without quorum."""
    fatal: tuple[str, ...]
    """Voters whose failure alone would cost quorum."""
    missing: tuple[str, ...]
    """Voters that are not here."""
    losses: Sets
    """Each smallest set whose loss at once costs quorum."""
    returns: Sets
    """Each smallest set whose return brings quorum back."""
    cautions: tuple[Caution, ...]
    sentence: str
    """Where it stands, in one or two sentences."""
    sentences: tuple[str, ...]
    """All that is to be said, ``sentence`` first."""


def explain(
    shape: Shape | Sequence[Voter], *, quorate: bool | None = None, store: StoreWord | None = None
) -> Explanation:
    """Explain the votes; ``quorate`` is Corosync's own word where known (it may wait for all, or lag)."""
    shape = shape if isinstance(shape, Shape) else Shape(tuple(shape))
    can_fail, come_back = losses(shape), returns(shape)
    now = holds(shape, shape.here, device=shape.device_here) if quorate is None else quorate
    if not now:
        can_fail = ()
    missing = tuple(voter.name for voter in shape.nodes if not voter.present and voter.votes)
    if shape.device is not None and not shape.device.present:
        missing = (*missing, DEVICE)
    sizes = [sum(choice.count for choice in together) for together in can_fail]
    fatal = tuple(n for together in can_fail if _size(together) == 1 for n in together[0].names)
    may_fail = min(sizes, default=1) - 1
    writable = now if store is None else store.writable
    warned = cautions(shape)
    head = _head(shape, now, may_fail, fatal, missing, come_back)
    said = [head, *_disagreement(now, store)]
    if now and len(shape.nodes) > 1 and max(sizes, default=0) > 1:
        said.append(f"These losses at once cost quorum: {_alternatives(can_fail, 'or')}.")
    said += [caution.sentence for caution in warned]
    return Explanation(
        now,
        writable,
        shape.total,
        shape.present_votes,
        shape.needed,
        may_fail,
        fatal,
        missing,
        can_fail,
        come_back if not now else (),
        warned,
        head,
        tuple(said),
    )


def _head(
    shape: Shape, quorate: bool, may_fail: int, fatal: Sequence[str], missing: Sequence[str], back: Sets
) -> str:
    present, needed = shape.present_votes, shape.needed
    if not quorate and present >= needed:
        return _held_back(shape, missing, present, needed)
    if not quorate:
        way = _way_back(shape, back)
        return (
            f"No quorum: {present} of the {needed} votes needed are here; nothing can be changed, running "
            f"guests go on. {way}"
        )
    counted = f"Quorate: {_votes(present)} here, {needed} {'is' if needed == 1 else 'are'} needed."
    if may_fail:
        which = "node or device" if may_fail == 1 else "nodes or devices"
        return f"{counted} Any {may_fail} more {which} may fail."
    if len(shape.nodes) == 1 and shape.device is None:
        return f"{counted} This is the only node; with three nodes one may fail."
    spared = [n for n in (*shape.here, *([DEVICE] if shape.device_here else [])) if n not in fatal]
    if spared and fatal:
        may = _listed(sorted(spared), "or")
        return f"{counted} Without {_listed(fatal, 'or')} quorum is lost; {may} may fail."
    if fatal:
        return f"{counted} Nothing more may fail: without {_listed(fatal, 'or')} quorum is lost."
    return counted


def _held_back(shape: Shape, missing: Sequence[str], present: int, needed: int) -> str:
    counted = f"{_votes(present)} here, {needed} are needed"
    if shape.rules.wait_for_all and missing:
        return (
            f"No quorum although {counted}: Corosync waits until all nodes were here at once (wait_for_all). "
            f"Start {_listed(missing, 'and')}, or go on without by: pvecm expected {present}"
        )
    return f"No quorum although {counted}: a membership change is under way, or corosync waits for all."


def _way_back(shape: Shape, back: Sets) -> str:
    if not back:
        return "No node that is missing would bring it back: see 'pvecm expected'."
    nodes = [together for together in back if all(DEVICE not in choice.names for choice in together)]
    device = [together for together in back if together not in nodes]
    ways = []
    if nodes:
        ways.append(f"start {_alternatives(tuple(nodes), 'or')}")
    for together in device:
        others = tuple(choice for choice in together if DEVICE not in choice.names)
        host = f" ({shape.device.host})" if shape.device and shape.device.host else ""
        with_nodes = f"start {_together(others)} and " if others else ""
        ways.append(f"{with_nodes}reach the QDevice{host} again")
    text = ", or ".join(ways)
    return f"{text[0].upper()}{text[1:]} to go on."


def _disagreement(quorate: bool, store: StoreWord | None) -> list[str]:
    """What is to be said where Corosync and the store differ."""
    if store is None or store.writable == quorate:
        return []
    if store.writable:
        return ["Corosync has no quorum now, and the store has not been told yet."]
    why = store.reason or "the store has not said why"
    return [f"Corosync has quorum, but nothing can be changed here: {why}."]


def _alternatives(sets: Sets, word: str) -> str:
    """Alternatives; a choice of one among several nodes reads as alternatives itself."""
    parts = [_together(together, word) for together in sets[:_SHOWN]]
    more = f"; and {len(sets) - _SHOWN} more" if len(sets) > _SHOWN else ""
    return (f", {word} " if len(parts) == 2 else "; ").join(parts) + more


def _together(choices: Sequence[Choice], word: str = "or") -> str:
    if len(choices) == 1 and choices[0].count == 1:
        return _listed(choices[0].names, word)
    return " and ".join(_choice(choice) for choice in choices)


def _choice(choice: Choice) -> str:
    if choice.count == len(choice.names):
        return _listed(choice.names, "and")
    return f"any {choice.count} of {', '.join(choice.names)}"


def _listed(names: Sequence[str], word: str) -> str:
    if len(names) < 2:
        return "".join(names)
    if len(names) == 2:
        return f"{names[0]} {word} {names[1]}"
    return f"{', '.join(names[:-1])} {word} {names[-1]}"


def _votes(count: int) -> str:
    return f"{count} vote is" if count == 1 else f"{count} votes are"


def _size(together: Sequence[Choice]) -> int:
    return sum(choice.count for choice in together)
