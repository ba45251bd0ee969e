"""One replica among three, message by message: who is answered when."""

from __future__ import annotations

import random

from msgspec.structs import replace

from kvorum.store import Expect, Write
from kvorum.store.protocol import (
    Answer,
    Ballot,
    Changed,
    Claim,
    Clock,
    Deliver,
    DiskSynced,
    Effect,
    Event,
    Left,
    MembersChanged,
    Moved,
    Multicast,
    Note,
    Outcome,
    Persist,
    Rejoin,
    Replica,
    Request,
    Stored,
    Urge,
    Whisper,
    Whispered,
    Withdraw,
    frames,
    messages,
)


class Three:
    """One replica in a writable view of n1, n2 and n3, whose first member is n1; the others are played."""

    def __init__(self, me: int = 1) -> None:
        self.me = me
        self.others = tuple(node for node in (1, 2, 3) if node != me)
        self.replica = Replica(me, f"n{me}", f"n{me}/life", Stored(), Ballot(1, 3))
        self.sent: list[messages.Message] = []
        self.whispered: list[tuple[tuple[int, ...], messages.Message]] = []
        self.serial = 0
        self.step(Clock(1.0))
        self.step(Clock(100.0))
        members = frozenset({(1, 1), (2, 2), (3, 3)})
        self.step(MembersChanged((1, 1), members, 0.0, b"here"))
        (state,) = self.sent
        assert isinstance(state, messages.State)
        for node in (1, 2, 3):
            self.hear(node, replace(state, name=f"n{node}"))
        self.sync()
        for node in (1, 2, 3):
            self.hear(node, messages.Ready(state.tag))
        assert self.replica.status.writable
        self.sync()
        self.sent.clear()

    def met(self) -> Three:
        """The others were heard in this view, so they are whispered to."""
        for node in self.others:
            self.hear(node, messages.OnDisk(self.view, 0))
        return self

    @property
    def view(self) -> int:
        return self.replica.view.number

    def step(self, event: Event) -> list[Effect]:
        effects = self.replica.step(event)
        for effect in effects:
            match effect:
                case Multicast(parts):
                    self.sent.append(messages.decode(b"".join(part[2:] for part in parts)))
                case Whisper(to, frame):
                    self.whispered.append((to, messages.decode(frames.whole(frame))))
                case Persist(record):
                    self.serial = record.serial
        return effects

    def hear(self, node: int, message: messages.Message) -> list[Answer]:
        effects: list[Effect] = []
        for frame in frames.split(messages.encode(message)):
            effects += self.step(Deliver(node, frame))
        return [effect for effect in effects if isinstance(effect, Answer)]

    def overhear(self, node: int, message: messages.Message) -> list[Answer]:
        """What a node whispers to this one."""
        (frame,) = frames.split(messages.encode(message))
        return [effect for effect in self.step(Whispered(node, frame)) if isinstance(effect, Answer)]

    def all_have(self, place: int) -> list[Answer]:
        """The others have it on disk."""
        return [a for node in self.others for a in self.overhear(node, messages.OnDisk(self.view, place))]

    def sync(self) -> list[Answer]:
        return [effect for effect in self.step(DiskSynced(self.serial)) if isinstance(effect, Answer)]

    def changes(self, seq: int, path: str, *expect: Expect, after: int = 0) -> messages.Changes:
        """A message of n2 with one change."""
        write = (Write(path, b"2"),)
        change = messages.Change(self.view, "n2/life", seq, seq, write, expect, "", 0.0)
        return messages.Changes((change,), after)

    def ordered(self, place: int, message: messages.Changes, sender: int = 2) -> messages.Ordered:
        return messages.Ordered(self.view, place, sender, message.changes)


def request(number: int, path: str, *expect: Expect) -> Request:
    return Request(number, (Write(path, b"1"),), expect, "test", 0.0)


def test_a_change_is_answered_when_the_last_member_has_it_on_disk() -> None:
    three = Three().met()
    three.step(request(7, "a"))
    version = three.replica.version
    assert three.overhear(2, messages.OnDisk(three.view, 1)) == []
    assert three.sync() == []
    assert three.overhear(3, messages.OnDisk(three.view, 1)) == [Answer(7, Outcome.DONE, version)]


def test_watchers_are_told_whose_request_a_change_was() -> None:
    three = Three().met()
    (frame,) = frames.split(messages.encode(three.changes(1, "a")))
    told = [effect for effect in three.step(Whispered(2, frame)) if isinstance(effect, Changed)]
    assert [one.node for one in told] == ["n2"]


def test_a_conflict_is_answered_when_what_it_met_is_on_disk_everywhere() -> None:
    three = Three().met()
    three.overhear(2, three.changes(1, "a"))
    three.sync()
    three.step(request(7, "a", Expect("a", None)))
    assert three.overhear(2, messages.OnDisk(three.view, 1)) == []
    assert three.overhear(3, messages.OnDisk(three.view, 1)) == [], "they may not have heard of it"
    (answer,) = three.all_have(2)
    assert answer.outcome is Outcome.CONFLICT and "exists already" in answer.text


def test_the_first_member_orders_and_tells_each_other_member_by_one_whisper() -> None:
    three = Three().met()
    three.step(request(7, "a"))
    ((to, ordered),) = three.whispered
    assert to == (2, 3) and isinstance(ordered, messages.Ordered)
    assert (ordered.number, ordered.sender, ordered.changes[0].origin) == (1, 1, "n1/life")
    three.overhear(3, replace(three.changes(1, "b"), after=0))
    _, ordered = three.whispered[-1]
    assert isinstance(ordered, messages.Ordered)
    assert (ordered.number, ordered.sender, ordered.changes[0].origin) == (2, 3, "n2/life")
    assert three.sent == []


def test_another_member_whispers_its_changes_to_the_first_and_takes_them_as_they_come_back() -> None:
    three = Three(3).met()
    three.step(request(7, "a"))
    ((to, changes),) = three.whispered
    assert to == (1,) and isinstance(changes, messages.Changes)
    assert three.replica.tree.read("a") is None
    assert three.overhear(2, three.ordered(1, changes, sender=3)) == [], "it is not for n2 to say"
    assert three.replica.tree.read("a") is None
    three.overhear(1, three.ordered(1, changes, sender=3))
    assert three.replica.tree.read("a") is not None
    three.sync()
    assert three.all_have(1) == [Answer(7, Outcome.DONE, three.replica.version)]


def test_who_was_not_heard_in_this_view_is_told_in_the_group() -> None:
    """It may not have begun the view: the group's order has what began it first."""
    three = Three()
    three.step(request(7, "a"))
    (ordered,) = three.sent
    assert isinstance(ordered, messages.Ordered) and three.whispered == []
    follower = Three(3)
    follower.step(request(7, "a"))
    (changes,) = follower.sent
    assert isinstance(changes, messages.Changes) and follower.whispered == []


def test_what_is_too_large_for_a_datagram_goes_through_the_group() -> None:
    three = Three().met()
    three.step(Request(7, (Write("a", random.Random(1).randbytes(200_000)),), (), "test", 0.0))
    assert [type(message) for message in three.sent] == [messages.Ordered] and three.whispered == []


def test_changes_are_taken_in_their_order_however_they_come() -> None:
    three = Three(3).met()
    first, second = three.changes(1, "a"), three.changes(2, "b", after=1)
    three.overhear(1, three.ordered(2, second))
    assert three.replica.tree.read("b") is None
    three.overhear(1, three.ordered(1, first))
    assert three.replica.tree.read("a") is not None and three.replica.tree.read("b") is not None
    version = three.replica.version
    three.overhear(1, three.ordered(1, first))
    three.hear(1, three.ordered(2, second))
    assert three.replica.version == version, "twice is once"


def test_a_members_messages_are_ordered_as_it_made_them() -> None:
    three = Three().met()
    three.overhear(2, three.changes(2, "b", after=1))
    assert three.whispered == []
    three.overhear(2, three.changes(1, "a"))
    told = [message for _, message in three.whispered]
    assert [one.changes[0].seq for one in told if isinstance(one, messages.Ordered)] == [1, 2]
    three.hear(2, three.changes(1, "a"))
    assert len(three.whispered) == 2, "twice is once"


def test_a_member_says_what_it_has_on_disk_only_where_another_waits_for_it() -> None:
    three = Three().met()
    three.step(request(7, "a"))
    three.whispered.clear()
    three.sync()
    assert three.sent == [] and three.whispered == [], "its own change is its own business"
    three.overhear(2, three.changes(1, "b"))
    three.whispered.clear()
    three.sync()
    assert three.sent == []
    assert three.whispered == [((2,), messages.OnDisk(three.view, 2))]


def test_a_whisper_counts_as_what_is_said_aloud() -> None:
    three = Three().met()
    three.step(request(7, "a"))
    assert three.overhear(2, messages.OnDisk(three.view, 1)) == []
    assert three.overhear(2, messages.OnDisk(three.view, 1)) == [], "twice is once"
    assert three.sync() == []
    assert three.hear(3, messages.OnDisk(three.view, 1)) == [Answer(7, Outcome.DONE, three.replica.version)]


def test_a_whisper_may_overtake_the_change_that_it_is_about() -> None:
    three = Three(3).met()
    three.step(request(7, "a"))
    ((_, changes),) = three.whispered
    assert isinstance(changes, messages.Changes)
    assert three.all_have(1) == []
    three.overhear(1, three.ordered(1, changes, sender=3))
    assert three.sync() == [Answer(7, Outcome.DONE, three.replica.version)]


def test_a_whisper_of_another_view_or_of_no_member_counts_for_nothing() -> None:
    three = Three().met()
    three.step(request(7, "a"))
    three.sync()
    for node in (2, 3):
        assert three.overhear(node, messages.OnDisk(three.view - 1, 1)) == []
    assert three.overhear(4, messages.OnDisk(three.view, 1)) == []
    assert three.step(Whispered(2, b"garbage")) != [], "a note"
    assert three.overhear(2, messages.Ask(three.view, 1)) == []
    assert three.overhear(2, messages.OnDisk(three.view, 1)) == []
    three.whispered.clear()
    three.overhear(2, messages.Changes(()))
    three.overhear(
        2, replace(three.changes(1, "b"), changes=(replace(three.changes(1, "b").changes[0], view=99),))
    )
    assert three.whispered == [] and three.replica.tree.read("b") is None


def test_a_whisper_of_another_protocol_version_is_dropped() -> None:
    three = Three().met()
    three.step(request(7, "a"))
    three.sync()
    (frame,) = frames.split(messages.encode(messages.OnDisk(three.view, 1)))
    for node in (2, 3):
        (note,) = three.step(Whispered(node, bytes((frames.WIRE_VERSION - 1,)) + frame[1:]))
        assert isinstance(note, Note) and "protocol version" in note.text
    assert len(three.all_have(1)) == 1


def test_who_waits_in_vain_asks_and_is_answered_aloud() -> None:
    three = Three().met()
    three.step(request(7, "a"))
    three.step(Urge())
    assert three.sent.pop() == messages.Ask(three.view, 1)
    three.all_have(1)
    three.step(Urge())
    assert three.sent == [], "only its own disk is waited for"
    three.sync()
    three.overhear(2, three.changes(1, "b"))
    three.whispered.clear()
    three.hear(2, messages.Ask(three.view, 2))
    assert three.sent == [] and three.whispered == [], "the disk is at work"
    three.sync()
    assert three.whispered == [((2,), messages.OnDisk(three.view, 2))]
    three.hear(2, messages.Ask(three.view, 2))
    assert three.sent == [messages.OnDisk(three.view, 2)]
    three.overhear(2, three.changes(2, "c", after=1))
    three.sync()
    assert three.sent[2:] == [messages.OnDisk(three.view, 3)] and isinstance(three.sent[1], messages.Ordered)


def test_changes_that_are_lost_on_their_way_to_the_first_member_are_said_again_in_the_group_once() -> None:
    three = Three(3).met()
    three.step(request(7, "a"))
    ((_, changes),) = three.whispered
    three.step(Urge())
    assert three.sent == [changes, messages.Lack(three.view, 0)]
    three.step(Urge())
    assert three.sent[2:] == [messages.Lack(three.view, 0)]
    three.step(request(8, "b"))
    assert isinstance(three.sent[-1], messages.Changes), "what comes soon after it is said aloud, too"


def test_what_is_lost_on_its_way_from_the_first_member_is_said_again_in_the_group_once() -> None:
    three = Three().met()
    three.step(request(7, "a"))
    three.step(request(8, "b"))
    (_, first), (_, second) = three.whispered
    three.hear(3, messages.Lack(three.view, 1))
    assert three.sent == [second], "it had the first"
    three.hear(2, messages.Lack(three.view, 0))
    assert three.sent == [second, first]
    three.hear(2, messages.Lack(three.view, 0))
    assert three.sent == [second, first]


def test_a_member_that_is_asked_for_what_it_did_not_hear_says_so() -> None:
    three = Three(3).met()
    three.hear(2, messages.Ask(three.view, 1))
    assert three.sent == [messages.Lack(three.view, 0)]


def test_a_member_says_at_once_where_a_change_was_refused_if_all_before_is_on_its_disk() -> None:
    three = Three().met()
    three.step(request(7, "a"))
    three.sync()
    three.whispered.clear()
    three.overhear(2, three.changes(1, "a", Expect("a", None)))
    (_, ordered), told = three.whispered
    assert isinstance(ordered, messages.Ordered) and told == ((2,), messages.OnDisk(three.view, 2))


def test_what_comes_while_two_messages_are_not_on_disk_everywhere_shares_the_next() -> None:
    three = Three().met()
    for number in range(1, 7):
        three.step(request(number, f"f{number}"))
    three.sync()
    assert len(three.whispered) == 2
    three.all_have(1)
    _, third = three.whispered[-1]
    assert isinstance(third, messages.Ordered) and len(three.whispered) == 3
    assert [change.seq for change in third.changes] == [3, 4, 5, 6]


def test_a_lease_is_answered_when_every_member_has_heard_of_it() -> None:
    three = Three()
    three.step(Claim(9, "a", "n1/1", 5.0))
    (hold,) = three.sent
    assert three.hear(1, hold) == []
    (held,) = three.sent[1:]
    assert three.hear(1, held) == [] and three.hear(3, held) == []
    assert [answer.outcome for answer in three.hear(2, held)] == [Outcome.DONE]


def test_a_view_that_was_formed_and_never_began_is_none_to_come_directly_from() -> None:
    """Another member may lack it, and go on alone from the view before (simulation, seed 22106)."""
    three = Three()
    replica = Replica(1, "n1", "n1/life", Stored(), Ballot(1, 3, 1, True))
    three.replica, three.serial = replica, 0
    three.step(MembersChanged((1, 1), frozenset({(1, 1), (2, 2)}), 0.0))
    (state,) = three.sent
    assert isinstance(state, messages.State)
    ahead = replace(state, name="n2", view=messages.View(3, {2: "n2"}), direct=True)
    three.hear(1, state)
    three.hear(2, ahead)
    three.sync()
    assert replica.view.number == 4 and not replica.status.writable
    three.sent.clear()
    three.step(MembersChanged((1, 2), frozenset({(1, 1)}), 0.0))
    (alone,) = three.sent
    assert isinstance(alone, messages.State) and alone.view.number == 4 and not alone.direct


def test_who_has_another_address_joins_its_group_anew_and_keeps_what_waits() -> None:
    three = Three()
    three.step(request(7, "a"))
    three.sync()
    effects = three.step(Moved("this node's address is 10.0.0.9 now"))
    turned = [type(effect) for effect in effects if isinstance(effect, Withdraw | Rejoin | Answer)]
    assert turned == [Withdraw, Rejoin]
    status = three.replica.status
    assert not status.writable and status.changing and "10.0.0.9" in status.reason


def test_a_replica_without_a_group_has_nobody_to_meet_anew() -> None:
    three = Three()
    three.step(Left("corosync is gone"))
    assert three.step(Moved("another address")) == []
