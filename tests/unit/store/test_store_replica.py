"""One replica among three, message by message: who is answered when."""

from __future__ import annotations

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
    """Replica n1 in a writable view of n1, n2 and n3; the others are played."""

    def __init__(self) -> None:
        self.replica = Replica(1, "n1", "n1/life", Stored(), Ballot(1, 3))
        self.sent: list[messages.Message] = []
        self.whispered: list[tuple[int, messages.Message]] = []
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
        for node in (2, 3):
            self.hear(node, messages.OnDisk(self.view, self.replica.version))
        self.sent.clear()

    @property
    def view(self) -> int:
        return self.replica.view.number

    def step(self, event: Event) -> list[Effect]:
        effects = self.replica.step(event)
        for effect in effects:
            match effect:
                case Multicast(parts):
                    self.sent.append(messages.decode(b"".join(part[2:] for part in parts)))
                case Whisper(to, data):
                    self.whispered.append((to, messages.decode(data)))
                case Persist(record):
                    self.serial = record.serial
        return effects

    def hear(self, node: int, message: messages.Message) -> list[Answer]:
        effects: list[Effect] = []
        for frame in frames.split(messages.encode(message)):
            effects += self.step(Deliver(node, frame))
        return [effect for effect in effects if isinstance(effect, Answer)]

    def overhear(self, node: int, message: messages.Message) -> list[Answer]:
        """What a node whispers to n1."""
        effects = self.step(Whispered(node, messages.encode(message)))
        return [effect for effect in effects if isinstance(effect, Answer)]

    def sync(self) -> list[Answer]:
        return [effect for effect in self.step(DiskSynced(self.serial)) if isinstance(effect, Answer)]

    def others_write(self, path: str, seq: int = 1) -> None:
        change = messages.Change(self.view, "n2/life", seq, seq, (Write(path, b"2"),), (), "", 0.0)
        self.hear(2, change)


def request(number: int, path: str, *expect: Expect) -> Request:
    return Request(number, (Write(path, b"1"),), expect, "test", 0.0)


def test_a_change_is_answered_when_the_last_member_has_it_on_disk() -> None:
    three = Three()
    three.step(request(7, "a"))
    (change,) = three.sent
    assert three.hear(1, change) == []
    version = three.replica.version
    assert three.hear(2, messages.OnDisk(three.view, version)) == []
    assert three.sync() == []
    assert three.hear(3, messages.OnDisk(three.view, version)) == [Answer(7, Outcome.DONE, version)]


def test_watchers_are_told_whose_request_a_change_was() -> None:
    three = Three()
    change = messages.Change(three.view, "n2/life", 1, 1, (Write("a", b"2"),), (), "", 0.0)
    (frame,) = frames.split(messages.encode(change))
    told = [effect for effect in three.step(Deliver(2, frame)) if isinstance(effect, Changed)]
    assert [one.node for one in told] == ["n2"]


def test_a_conflict_is_answered_when_what_it_met_is_on_disk_everywhere() -> None:
    three = Three()
    three.others_write("a")
    three.step(request(7, "a", Expect("a", None)))
    change = three.sent[-1]
    assert three.hear(1, change) == []
    version = three.replica.version
    assert three.sync() == []
    assert three.hear(2, messages.OnDisk(three.view, version)) == []
    (answer,) = three.hear(3, messages.OnDisk(three.view, version))
    assert answer.outcome is Outcome.CONFLICT and "exists already" in answer.text


def test_a_member_says_what_it_has_on_disk_only_where_another_waits_for_it() -> None:
    three = Three()
    three.step(request(7, "a"))
    three.hear(1, three.sent.pop())
    three.sync()
    assert three.sent == [], "its own change is its own business"
    three.others_write("b")
    assert three.sent == []
    three.sync()
    assert three.sent == []
    assert three.whispered == [(2, messages.OnDisk(three.view, three.replica.version))]


def test_a_whisper_counts_as_what_is_said_aloud() -> None:
    three = Three()
    three.step(request(7, "a"))
    three.hear(1, three.sent.pop())
    version = three.replica.version
    assert three.overhear(2, messages.OnDisk(three.view, version)) == []
    assert three.overhear(2, messages.OnDisk(three.view, version)) == [], "twice is once"
    assert three.sync() == []
    assert three.overhear(3, messages.OnDisk(three.view, version)) == [Answer(7, Outcome.DONE, version)]


def test_a_whisper_may_overtake_the_change_that_it_is_about() -> None:
    three = Three()
    three.step(request(7, "a"))
    version = three.replica.version + 1
    for node in (2, 3):
        assert three.overhear(node, messages.OnDisk(three.view, version)) == []
    assert three.hear(1, three.sent.pop()) == []
    assert three.sync() == [Answer(7, Outcome.DONE, version)]


def test_a_whisper_of_another_view_or_of_no_member_counts_for_nothing() -> None:
    three = Three()
    three.step(request(7, "a"))
    three.hear(1, three.sent.pop())
    three.sync()
    version = three.replica.version
    for node in (2, 3):
        assert three.overhear(node, messages.OnDisk(three.view - 1, version)) == []
    assert three.overhear(4, messages.OnDisk(three.view, version)) == []
    assert three.step(Whispered(2, b"garbage")) != [], "a note"
    assert three.step(Whispered(2, messages.encode(messages.Ask(three.view, version)))) == []
    assert three.overhear(2, messages.OnDisk(three.view, version)) == []


def test_who_waits_in_vain_asks_and_is_answered_aloud() -> None:
    three = Three()
    three.step(request(7, "a"))
    three.step(Urge(7))
    change = three.sent.pop()
    three.hear(1, change)
    version = three.replica.version
    three.step(Urge(7))
    assert three.sent.pop() == messages.Ask(three.view, version)
    for node in (2, 3):
        three.overhear(node, messages.OnDisk(three.view, version))
    three.step(Urge(7))
    assert three.sent == [], "only its own disk is waited for"
    three.sync()
    three.others_write("b")
    three.hear(2, messages.Ask(three.view, version + 1))
    assert three.sent == [] and three.whispered == [], "the disk is at work"
    three.sync()
    assert three.whispered == [(2, messages.OnDisk(three.view, version + 1))]
    three.hear(2, messages.Ask(three.view, version + 1))
    assert three.sent == [messages.OnDisk(three.view, version + 1)]
    three.others_write("c", seq=2)
    three.sync()
    assert three.sent[1:] == [messages.OnDisk(three.view, version + 2)] and len(three.whispered) == 1


def test_a_member_says_at_once_what_a_refused_change_met_if_it_is_on_its_disk() -> None:
    three = Three()
    three.step(request(7, "a"))
    three.hear(1, three.sent.pop())
    three.sync()
    refused = messages.Change(three.view, "n2/life", 1, 1, (Write("a", b"2"),), (Expect("a", None),), "", 0.0)
    three.hear(2, refused)
    assert three.whispered == [(2, messages.OnDisk(three.view, three.replica.version))]


def test_what_comes_while_two_messages_are_on_their_way_shares_the_next() -> None:
    three = Three()
    for number in range(1, 7):
        three.step(request(number, f"f{number}"))
    first, second = three.sent
    assert isinstance(first, messages.Change) and isinstance(second, messages.Change)
    three.hear(1, first)
    third = three.sent[-1]
    assert isinstance(third, messages.Changes)
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
    effects = three.step(Moved("this node's address is 10.0.0.9 now"))
    turned = [type(effect) for effect in effects if isinstance(effect, Withdraw | Rejoin | Answer)]
    assert turned == [Withdraw, Rejoin]
    status = three.replica.status
    assert not status.writable and status.changing and "10.0.0.9" in status.reason


def test_a_replica_without_a_group_has_nobody_to_meet_anew() -> None:
    three = Three()
    three.step(Left("corosync is gone"))
    assert three.step(Moved("another address")) == []
