"""Who may write: the votes, the rule of views, and whose history leads.

A partition P with a majority of all votes may write if one of these holds:

1. it comes directly, with no moment without quorum, from the newest view it knows;
2. the votes of its members alone, without the QDevice's, are a majority of all votes;
3. it has every member of the newest view it knows, and knows one.

Why: a view is on disk at every member before the first write in it is acknowledged. By (2) two writable
partitions share a member, by (3) P has a member of it, by (1) no other partition had a majority since. Quorum
alone is not enough: with two nodes and a QDevice, A goes on alone and dies, B comes up alone with the
QDevice's vote and knows nothing of A's writes.

The history that leads is the one whose last entry was made in the newest view, then the longest (as in Raft,
Ongaro 2014, 5.4.1). Each view begins with an empty entry, so that histories which ended in an earlier view
never tie with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from kvorum.store.protocol.messages import Ballot, State, View


@dataclass(frozen=True, slots=True)
class Count:
    """The votes of a partition."""

    members: int
    qdevice: int
    expected: int
    settled: bool

    @property
    def quorate(self) -> bool:
        """A majority, with the QDevice's votes if our partition has them."""
        return 2 * (self.members + self.qdevice) > self.expected

    @property
    def majority_of_members(self) -> bool:
        """A majority without the QDevice."""
        return 2 * self.members > self.expected

    @property
    def firm(self) -> bool:
        """A majority that no other partition may believe to have too."""
        return self.majority_of_members or (self.quorate and self.settled)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a partition may write, and the sentence that says why not."""

    writable: bool
    count: Count
    reason: str
    newest: View


_NEVER_MET = "waiting for the cluster's other nodes: the nodes that are here have never met them"


def count(ballots: Mapping[int, Ballot]) -> Count:
    """Count the ballots of a partition; the QDevice counts only where all members see its vote."""
    return Count(
        members=sum(ballot.votes for ballot in ballots.values()),
        qdevice=min((ballot.qdevice for ballot in ballots.values()), default=0),
        expected=max((ballot.expected for ballot in ballots.values()), default=1),
        settled=all(ballot.settled for ballot in ballots.values()),
    )


def leader(states: Mapping[int, State]) -> int:
    """The member whose history leads."""
    return max(states, key=lambda node: (states[node].last_view, states[node].version, -node))


def foreign(states: Mapping[int, State], ballots: Mapping[int, Ballot]) -> dict[int, str]:
    """Members that bring another cluster's configuration: node id to a sentence.

    The configuration with most votes stays; of two alike that of the lowest node id. A history counts from
    its first entry on: a view that was only formed may have been formed anew elsewhere.
    """
    sides: dict[str, list[int]] = {}
    for node, state in sorted(states.items()):
        if state.last_view:
            sides.setdefault(state.view.history, []).append(node)
    if len(sides) < 2:
        return {}
    stays = max(sides, key=lambda side: (sum(ballots[n].votes for n in sides[side]), -min(sides[side])))
    there = ", ".join(states[node].name for node in sides[stays])
    return {
        node: f"this node's configuration is another cluster's than that of {there}; to join them, stop "
        "pve-cluster, move its database away and start it again"
        for side, nodes in sides.items()
        if side != stays
        for node in nodes
    }


def history(states: Mapping[int, State], newest: View) -> str:
    """The history that a new view goes on with; empty when none was begun."""
    lead = states[leader(states)]
    if lead.last_view:
        return lead.view.history
    named = sorted(s.view.history for s in states.values() if s.view.number == newest.number)
    return named[-1]


def judge(states: Mapping[int, State], ballots: Mapping[int, Ballot]) -> Verdict:
    """Decide for the partition whose members' states these are; every member decides the same."""
    votes = count(ballots)
    number = max(state.view.number for state in states.values())
    newest = [state.view for state in states.values() if state.view.number == number]
    known = {node: name for view in newest for node, name in view.members.items()}
    view = View(number, known, max(view.time for view in newest))
    if not votes.quorate:
        return Verdict(False, votes, _no_majority(states, votes), view)
    if not votes.firm:
        reason = "the QDevice's vote is new: waiting until no other node can still count on it"
        return Verdict(False, votes, reason, view)
    agreed = all(other.members == known for other in newest)
    direct = agreed and any(state.direct and state.view.number == number for state in states.values())
    adopted = any(ballot.adopt for ballot in ballots.values())
    missing = [name for node, name in sorted(known.items()) if node not in states]
    if direct or votes.majority_of_members or (known and not missing) or adopted:
        return Verdict(True, votes, "", view)
    return Verdict(False, votes, _waiting(missing, view) if known else _NEVER_MET, view)


def _no_majority(states: Mapping[int, State], votes: Count) -> str:
    names = ", ".join(state.name for _, state in sorted(states.items()))
    held = votes.members + votes.qdevice
    needed = votes.expected // 2 + 1
    return f"no quorum: {held} of {votes.expected} votes are here ({names}), {needed} are needed"


def _waiting(missing: list[str], view: View) -> str:
    when = datetime.fromtimestamp(view.time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return (
        f"waiting for {', '.join(missing)}, last seen together at {when}, who may know later changes; "
        "if they are lost for good, run: pvecm adopt"
    )
