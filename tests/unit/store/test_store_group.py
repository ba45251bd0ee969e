"""What the group tells of the QDevice's vote, in whichever order it hears what Corosync says."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import cast

import pytest

from kvorum.corosync import Address, Flag, NodeState, RingId, VoteInfo, Votequorum
from kvorum.store.corosync_group import CorosyncGroup
from kvorum.store.protocol import Ballot, Event, MembersChanged

BOTH = (Address(1, 100), Address(2, 200))
ALONE = BOTH[:1]
OLD, NEW = RingId(1, 8), RingId(1, 12)


@dataclass
class Votes:
    """votequorum of two nodes with a QDevice."""

    cast: bool = True
    closed = False

    def info(self) -> VoteInfo:
        flags = Flag.QDEVICE_REGISTERED | (Flag.QDEVICE_CAST_VOTE if self.cast else Flag(0))
        return VoteInfo(
            nodeid=1, state=NodeState.MEMBER, votes=1, expected=3, highest_expected=3, total=2 + self.cast,
            quorum=2, flags=flags, qdevice_votes=1, qdevice_name="Qdevice",
        )  # fmt: skip


class World:
    """A group that is whole with its vote, and what it told since, in order."""

    def __init__(self) -> None:
        self.told: list[Ballot | MembersChanged] = []
        self.votes = Votes()
        self.counts = asyncio.Event()
        self.group = CorosyncGroup(
            self.ballot, nodeid=1, address="127.0.0.1", settle_seconds=lambda said: 0.0 if said else 60.0
        )
        self.group._handler = self.heard
        self.group._votes = cast(Votequorum, self.votes)
        self.group._ring = (OLD.nodeid, OLD.seq)
        self.members(BOTH)
        self.ring(OLD)

    @classmethod
    async def whole(cls) -> World:
        made = cls()
        made.said(True, OLD)
        await made.until_it_counts()
        made.told.clear()
        return made

    def ballot(self, ballot: Ballot) -> None:
        self.told.append(ballot)
        if ballot.settled:
            self.counts.set()

    async def until_it_counts(self) -> None:
        await asyncio.wait_for(self.counts.wait(), 5)
        self.counts.clear()

    def heard(self, event: Event) -> None:
        if isinstance(event, MembersChanged):
            self.told.append(event)

    def members(self, members: tuple[Address, ...]) -> None:
        self.group._changed(members, (), ())

    def ring(self, ring: RingId) -> None:
        self.group._ring_changed(ring, ())

    def said(self, quorate: bool, ring: RingId) -> None:
        self.group._said(quorate, ring, ())

    def waits(self) -> bool:
        """Whether the vote counts only after the full time."""
        timer = self.group._settling
        return timer is not None and not timer.cancelled() and timer.when() > loop_time() + 30

    @property
    def ballots(self) -> list[tuple[int, bool]]:
        """What was told of the QDevice's vote, and whether it counts."""
        return [(told.qdevice, told.settled) for told in self.told if isinstance(told, Ballot)]


def loop_time() -> float:
    return asyncio.get_running_loop().time()


@pytest.fixture
async def world() -> World:
    return await World.whole()


async def test_the_vote_counts_soon_when_corosync_says_it_for_the_new_ring(world: World) -> None:
    world.members(ALONE)
    world.ring(NEW)
    assert world.waits(), "votequorum still shows the vote of the ring before"
    world.said(True, NEW)
    await world.until_it_counts()
    assert world.ballots == [(1, True)]


async def test_a_word_heard_before_the_ring_counts_with_the_ring(world: World) -> None:
    world.said(True, NEW)
    world.members(ALONE)
    assert world.waits()
    world.ring(NEW)
    await world.until_it_counts()
    assert world.ballots == [(1, True)]
    assert isinstance(world.told[-2], MembersChanged), "the members come first"


async def test_the_word_for_the_old_ring_is_none_for_the_new_one(world: World) -> None:
    world.ring(NEW)
    world.group._count()
    assert world.waits()


async def test_a_no_between_two_yes_is_told_though_the_vote_is_back(world: World) -> None:
    world.members(ALONE)
    world.ring(NEW)
    world.said(False, NEW)
    world.said(True, NEW)
    await world.until_it_counts()
    assert world.ballots == [(0, False), (1, False), (1, True)]


async def test_who_is_refused_tells_it_and_waits_for_nothing(world: World) -> None:
    world.members(ALONE)
    world.ring(NEW)
    world.votes.cast = False
    world.said(False, NEW)
    assert world.ballots == [(0, False)]
    assert not world.waits()


async def test_a_change_within_the_ring_waits(world: World) -> None:
    """Corosync says nothing of it: the other node's store left, and both nodes are in the ring."""
    world.members(ALONE)
    world.group._count()
    assert world.waits() and world.ballots == []


async def test_a_vote_that_changes_no_quorum_is_seen_with_the_next_message(world: World) -> None:
    """votequorum says nothing then; unknown, it would not carry the survivor of the next death."""
    world.votes.cast = False
    world.group._counted_at -= 10
    world.group._delivered(2, 200, b"")
    assert world.ballots == [(0, False)]
    world.votes.cast = True
    world.group._delivered(2, 200, b"")
    assert world.ballots == [(0, False)], "once a second at most"
    world.group._counted_at -= 10
    world.group._delivered(2, 200, b"")
    assert world.ballots[1:] == [(1, False)]
