"""The protocol's parts: bytes on the wire, frames, votes and views, origins, checksums."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kvorum.core.errors import Conflict, ParameterError
from kvorum.store import Delete, Expect, File, MakeDirectory, Rename, Touch, Write
from kvorum.store.names import check_path, is_private
from kvorum.store.protocol import (
    Ballot,
    Changed,
    Deliver,
    MembersChanged,
    Origin,
    Persist,
    Record,
    Replica,
    Stored,
    View,
    Whispered,
    frames,
    messages,
    requests,
    transfer,
    views,
)
from kvorum.store.protocol.checksums import Checksums, checksum
from kvorum.store.tree import Tree

TAG = messages.Tag((1, 7), ((1, 10), (2, 20)), 0)


def test_a_record_on_disk_is_as_it_always_was() -> None:
    """Its fields by name, in MessagePack; database and journal of an older store are read on."""
    record = Record(4, 5, 2, View(2, {1: "n1"}, 1.5, "h"), origin=("o", Origin(1, 5)), who="root@pam")
    assert msgspec.msgpack.encode(record) == RECORD
    assert msgspec.msgpack.decode(RECORD, type=Record) == record


def test_old_bytes_still_decode() -> None:
    change = messages.Change(
        3,
        "n1/ab",
        7,
        5,
        (Write("a", b"x"), Delete("b"), Rename("c", "d"), MakeDirectory("e"), Touch("f", 1.5)),
        (Expect("a", 4), Expect("g", None)),
        "root@pam",
        2.5,
    )
    assert messages.encode(change) == CHANGE_1
    changes = messages.Changes((change,), 6)
    assert messages.encode(changes) == CHANGES_1
    assert messages.decode(CHANGES_1) == changes
    assert messages.decode(CHANGES_1[:-1].replace(b"\x93\x09", b"\x92\x09", 1)) == replace(changes, after=0)
    ordered = messages.Ordered(3, 12, 2, (change,))
    assert messages.encode(ordered) == ORDERED_1
    assert messages.decode(ORDERED_1) == ordered
    assert messages.encode(messages.Lack(3, 9)) == bytes.fromhex("930e0309")
    state = messages.State(
        TAG, "n1", View(2, {1: "n1"}, 1.0), 2, 9, b"r" * 16, True, Ballot(), {"o": Origin(1, 2, (1,))}, 3.0
    )
    assert messages.decode(STATE_1) == state, "bytes without a field that was added later"
    with_history = replace(state, view=replace(state.view, history="h"))
    assert messages.decode(STATE_2) == with_history
    leases = (messages.Lease("a", "n1/7", 5.0, 3),)
    with_leases = replace(with_history, leases=leases, lease_count=4, forgotten_for=2.0)
    assert messages.decode(STATE_3) == with_leases
    with_reach = replace(with_leases, reach=b"here")
    assert messages.encode(with_reach) == STATE_4
    assert messages.decode(STATE_4) == with_reach
    assert messages.encode(messages.Ask(3, 9)) == bytes.fromhex("930c0309")
    assert messages.encode(messages.Hold(2, 5, "a", "n1/7", 5.0, 3)) == HOLD_1
    assert messages.encode(messages.Held(2, 1, 5)) == bytes.fromhex("940b020105")
    assert messages.encode(messages.OnDisk(3, 9)) == bytes.fromhex("93070309")
    assert messages.encode(messages.Publish("n1", "k", b"v", 1.0)) == bytes.fromhex(
        "9508a26e31a16bc40176cb3ff0000000000000"
    )


RECORD = bytes.fromhex(
    "8ba673657269616c04a776657273696f6e05a96c6173745f7669657702a47669657794028101a26e31cb3ff8000000"
    "000000a168a76368616e67657390a66265666f726590a76f726967696e73c0a66f726967696e92a16f93010590a377"
    "686fa8726f6f744070616da46e6f6465a0a474696d65cb0000000000000000"
)
CHANGE_1 = bytes.fromhex(
    "990603a56e312f616207059583a474797065a57772697465a470617468a161a464617461c4017882a474797065a66465"
    "6c657465a470617468a16283a474797065a672656e616d65a6736f75726365a163a6746172676574a16482a474797065"
    "a56d6b646972a470617468a16583a474797065a5746f756368a470617468a166a56d74696d65cb3ff800000000000092"
    "82a470617468a161a776657273696f6e0482a470617468a167a776657273696f6ec0a8726f6f744070616dcb40040000"
    "00000000"
)
CHANGES_1 = b"\x93\x09\x91" + CHANGE_1 + b"\x06"
ORDERED_1 = b"\x95\x0d\x03\x0c\x02\x91" + CHANGE_1
STATE_1 = bytes.fromhex(
    "9b01939201079292010a92021400a26e3193028101a26e31cb3ff00000000000000209c4107272727272727272727272"
    "7272727272c395010100c2c281a16f9301029101cb4008000000000000"
)
STATE_2 = bytes.fromhex(
    "9b01939201079292010a92021400a26e3194028101a26e31cb3ff0000000000000a1680209c410727272727272727272"
    "72727272727272c395010100c2c281a16f9301029101cb4008000000000000"
)
STATE_3 = bytes.fromhex(
    "9e01939201079292010a92021400a26e3194028101a26e31cb3ff0000000000000a1680209c410727272727272727272"
    "72727272727272c395010100c2c281a16f9301029101cb40080000000000009194a161a46e312f37cb40140000000000"
    "000304cb4000000000000000"
)
STATE_4 = b"\x9f" + STATE_3[1:] + b"\xc4\x04here"
HOLD_1 = bytes.fromhex("970a0205a161a46e312f37cb401400000000000003")


@given(st.binary(max_size=200))
def test_garbage_is_dropped_with_a_note_and_never_crashes(data: bytes) -> None:
    replica = Replica(1, "n1", "x", Stored(), Ballot())
    replica.step(MembersChanged((1, 1), frozenset({(1, 1), (2, 2)}), 0.0))
    for frame in (data, *frames.split(data)):
        for effect in (*replica.step(Deliver(2, frame)), *replica.step(Whispered(2, frame))):
            assert not isinstance(effect, Persist | Changed)
    assert replica.version == 0


@given(st.integers(0, 3), st.binary(min_size=1, max_size=50))
def test_frames_carry_a_message_of_any_size(pieces: int, tail: bytes) -> None:
    message = random.Random(1).randbytes(pieces * frames.FRAME_BYTES) + tail
    assembly = frames.Assembly()
    parts = frames.split(message)
    assert all(len(part) <= frames.FRAME_BYTES + 2 for part in parts)
    assert [assembly.add(1, part) for part in parts] == [None] * (len(parts) - 1) + [message]


def test_a_large_message_that_shrinks_is_packed_and_one_that_does_not_is_not() -> None:
    text, noise = b"a line of some configuration\n" * 20_000, random.Random(1).randbytes(400_000)
    for message, most in (
        (text, len(text) // 20),
        (noise, len(noise) + 100),
        (text + noise, len(text + noise) + 100),
    ):
        parts = frames.split(message)
        assert sum(map(len, parts)) <= most
        assembly = frames.Assembly()
        assert [assembly.add(1, part) for part in parts][-1] == message


def test_a_packed_message_that_is_damaged_or_a_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    (whole,) = frames.split(bytes(1 << 20))
    for spoilt in (whole[:-1], whole[:2] + b"\0" + whole[3:], whole + b"x"):
        with pytest.raises(ValueError, match="damaged"):
            frames.Assembly().add(1, spoilt)
    monkeypatch.setattr(frames, "MESSAGE_BYTES", (1 << 20) - 1)
    with pytest.raises(ValueError, match="too large"):
        frames.Assembly().add(1, whole)


@pytest.mark.parametrize("version", [1, 2, 9])
def test_a_frame_of_another_version_is_told_apart(version: int) -> None:
    with pytest.raises(frames.ForeignVersion, match=f"version {version}; this node speaks 3"):
        frames.Assembly().add(1, bytes((version, 3)) + b"x")
    with pytest.raises(frames.ForeignVersion, match=f"version {version}; this node speaks 3"):
        frames.whole(bytes((version, 3)) + b"x")


def test_a_frames_bytes_are_those_of_this_wire_version() -> None:
    assert frames.split(b"x") == (b"\x03\x03x",)
    assert frames.Assembly().add(1, b"\x03\x03x") == b"x"


def test_checksums_are_those_of_this_wire_version() -> None:
    """Members compare them: with other bytes here ``frames.WIRE_VERSION`` must be another too."""
    assert checksum("a/b", None) == bytes.fromhex("e8a0a772e1763bdf7671093e2a1fec8d")
    assert checksum("a/b", File("a/b", b"text", 7, 1.5)) == bytes.fromhex("245bea15ff0f209b25e8a1cb53a30283")


def test_a_frame_alone_carries_a_whole_message_or_is_refused() -> None:
    for message in (b"", b"short", b"a line of some configuration\n" * 20_000):
        (frame,) = frames.split(message)
        assert frames.whole(frame) == message
    for part in (*frames.split(random.Random(1).randbytes(300_000)), b"", b"\x03"):
        with pytest.raises(ValueError, match=r"part of a message|too short"):
            frames.whole(part)


def test_a_message_whose_first_frames_were_missed_is_ignored() -> None:
    parts = frames.split(random.Random(1).randbytes(2 * frames.FRAME_BYTES))
    assert frames.Assembly().add(1, parts[1]) is None


def test_a_whole_message_ends_an_unfinished_one_of_its_sender() -> None:
    assembly = frames.Assembly()
    first, *rest = frames.split(random.Random(1).randbytes(2 * frames.FRAME_BYTES))
    assert assembly.add(1, first) is None
    (whole,) = frames.split(b"short")
    assert assembly.add(1, whole) == b"short"
    assert [assembly.add(1, part) for part in rest] == [None] * len(rest)


def state(node: int, view: View, *, direct: bool = False, version: int = 5) -> messages.State:
    ballot = Ballot(1, 3)
    return messages.State(TAG, f"n{node}", view, view.number, version, b"", direct, ballot, {}, 0.0)


def judge(states: dict[int, messages.State], **ballot: int | bool) -> views.Verdict:
    values = {"votes": 1, "expected": 3, **ballot}
    return views.judge(states, {node: Ballot(**values) for node in states})


BOTH = View(4, {1: "A", 2: "B"}, 0.0)
ALONE = View(5, {1: "A"}, 0.0)


@pytest.mark.parametrize(
    ("states", "ballot", "writable", "reason"),
    [
        ({1: state(1, BOTH), 2: state(2, BOTH)}, {}, True, ""),
        ({2: state(2, BOTH)}, {}, False, "no quorum: 1 of 3 votes are here (n2), 2 are needed"),
        ({2: state(2, BOTH)}, {"qdevice": 1}, False, "QDevice's vote is new"),
        ({2: state(2, BOTH)}, {"qdevice": 1, "settled": True}, False, "waiting for A"),
        ({2: state(2, BOTH, direct=True)}, {"qdevice": 1, "settled": True}, True, ""),
        ({2: state(2, BOTH)}, {"qdevice": 1, "settled": True, "adopt": True}, True, ""),
        ({1: state(1, ALONE)}, {"qdevice": 1, "settled": True}, True, ""),
        ({1: state(1, View())}, {"qdevice": 1, "settled": True}, False, "have never met them"),
        ({1: state(1, View()), 2: state(2, View())}, {}, True, ""),
        ({1: state(1, ALONE), 2: state(2, BOTH, direct=True)}, {}, True, ""),
    ],
)
def test_the_rule_of_views(
    states: dict[int, messages.State], ballot: dict[str, int | bool], writable: bool, reason: str
) -> None:
    verdict = judge(states, **ballot)
    assert verdict.writable is writable
    assert reason in verdict.reason


def test_the_newest_views_history_leads_then_the_longest() -> None:
    assert views.leader({1: state(1, ALONE, version=3), 2: state(2, BOTH, version=9)}) == 1
    assert views.leader({1: state(1, BOTH, version=3), 2: state(2, BOTH, version=9)}) == 2


def test_who_brings_another_clusters_configuration_is_named_and_the_rest_stay() -> None:
    def member(node: int, history: str, last_view: int = 4) -> messages.State:
        return replace(state(node, View(4, {}, 0.0, history)), last_view=last_view)

    def foreign(states: dict[int, messages.State]) -> dict[int, str]:
        return views.foreign(states, {node: s.ballot for node, s in states.items()})

    assert foreign({1: member(1, "a"), 2: member(2, "a"), 3: member(3, "", 0)}) == {}
    found = foreign({1: member(1, "b"), 2: member(2, "a"), 3: member(3, "a")})
    assert set(found) == {1} and "another cluster's than that of n2, n3" in found[1]
    assert set(foreign({1: member(1, "a"), 2: member(2, "b")})) == {2}


def test_origins_remember_what_was_refused() -> None:
    def change(seq: int, floor: int) -> messages.Change:
        return messages.Change(1, "o", seq, floor, (), (), "", 0.0)

    origins = requests.note_refused({}, change(1, 1))
    origins = requests.note_applied(origins, change(2, 1), 10)
    assert origins == {"o": Origin(2, 10, (1,))}
    assert requests.note_applied(origins, change(3, 2), 11) == {"o": Origin(3, 11)}


def files(tree: Tree) -> tuple[dict[str, File], set[str]]:
    return {file.path: file for file in tree.files()}, set(tree.directories())


NAMES = st.sampled_from(["a", "b", "c/d", "c/e", "f/g/h", "c", "f/g"])
STEPS = st.lists(st.tuples(st.sampled_from([Write, MakeDirectory, Delete]), NAMES, st.binary(max_size=3)))


def grown(steps: list[tuple[type, str, bytes]]) -> Tree:
    tree = Tree()
    for number, (kind, path, data) in enumerate(steps):
        try:
            operation = Write(path, data) if kind is Write else kind(path)
            tree.apply([operation], [], number, float(number))
        except Exception as error:
            assert type(error).__name__ == "Conflict"
    return tree


def test_a_step_says_what_file_was_at_each_path_before() -> None:
    tree = Tree()
    tree.apply([Write("a/x", b"1"), Write("a/y", b"2")], [], 1, 1.0)
    x, y = tree.read("a/x"), tree.read("a/y")
    changes, before = tree.apply(
        [Write("a/x", b"3"), Write("a/x", b"4"), Rename("a/y", "a/z"), Write("b/c", b""), Delete("a/z")],
        [],
        2,
        2.0,
    )
    was = dict(zip([change.path for change in changes], before, strict=True))
    assert was == {"a/x": x, "a/y": y, "a/z": None, "b": None, "b/c": None}


def test_a_file_that_is_replaced_keeps_its_place() -> None:
    tree, path = Tree(), "nodes/n1/lxc/7.conf"
    tree.apply([Write(path, b"old"), Write("other", b"12")], [], 1, 1.0)
    tree.apply([Write(path, b"newer")], [], 2, 2.0)
    assert tree.names("nodes/n1/lxc") == ("7.conf",) and tree.guests() == {"7": path}
    assert tree.total_bytes == 7
    with pytest.raises(Conflict, match="VM 7 already exists"):
        tree.apply([Write("nodes/n2/lxc/7.conf", b"")], [], 3, 3.0)
    tree.apply([Delete(path)], [], 3, 3.0)
    assert tree.names("nodes/n1/lxc") == () and tree.guests() == {} and tree.total_bytes == 2


@given(STEPS, STEPS)
def test_a_difference_in_pieces_makes_any_tree_the_leaders(
    ours: list[tuple[type, str, bytes]], theirs: list[tuple[type, str, bytes]]
) -> None:
    leader, laggard = grown(ours), grown(theirs)
    had = Checksums(laggard)
    fetched = transfer.Fetched()
    parts = list(transfer.pieces(leader, Checksums(leader).entries, had.entries, TAG, 2))
    assert [fetched.add(part) for part in parts] == [False] * (len(parts) - 1) + [True]
    changes, before = fetched.patch(laggard, 99)
    had.update(changes)
    assert files(laggard) == files(leader)
    assert had.root == Checksums(leader).root == Checksums(laggard).root
    assert len(changes) == len(before)


@pytest.mark.parametrize(
    "path",
    ["", "/a", "a/", "a//b", "a/../b", ".", "a\0b", "x" * 256, "a/" + "ü" * 128, "a/" * 70 + "b", "a/\udcff"],
)
def test_paths_that_are_none(path: str) -> None:
    with pytest.raises(ParameterError):
        check_path(path)


@pytest.mark.parametrize("path", ["a", "a/" + "x" * 255, "/".join(["ü" * 127] * 4), "...", "a/..b"])
def test_paths_that_are_some(path: str) -> None:
    check_path(path)


def test_what_is_private() -> None:
    assert is_private("priv") and is_private("priv/x") and is_private("nodes/n1/priv/key")
    assert not is_private("nodes/n1/privx") and not is_private("private") and not is_private("nodes/priv/x")


def test_who_has_not_the_leaders_history_yet_does_not_come_directly_from_the_view_to_be() -> None:
    """A walk lost a write so: cut off in its transfer, such a node went on alone with the QDevice's vote."""
    replica = Replica(2, "n2", "n2/1", Stored(view=View(3, {1: "n1", 2: "n2"}), last_view=3), Ballot(1, 3))
    replica.step(MembersChanged((1, 7), frozenset({(1, 10), (2, 20)}), 0.0))
    ahead = replace(state(1, View(6, {1: "n1"})), tag=TAG, last_view=4, version=64, root=b"r" * 16)
    behind = replace(state(2, replica.view), tag=TAG, last_view=3, version=0, root=replica.root)
    for sender, told in ((1, ahead), (2, behind)):
        for frame in frames.split(messages.encode(told)):
            replica.step(Deliver(sender, frame))
    replica.step(MembersChanged((2, 8), frozenset({(2, 20)}), 0.0))
    assert replica.view.number == 6 and not replica._direct


def two_with_a_device() -> Replica:
    """n2 in a begun view of two nodes that both see the QDevice's vote."""
    stored = Stored(view=View(3, {1: "n1", 2: "n2"}), last_view=3)
    replica = Replica(2, "n2", "n2/1", stored, Ballot(1, 3, 1, True))
    replica._ballots = {1: Ballot(1, 3, 1, True), 2: Ballot(1, 3, 1, True)}
    replica._direct = True
    return replica


def test_a_change_that_is_told_twice_is_no_moment_without_quorum() -> None:
    """Corosync tells of it by the group and by the ring; the survivor waited for the dead node for ever."""
    replica = two_with_a_device()
    replica.step(MembersChanged((2, 7), frozenset({(2, 20)}), 0.0))
    replica.step(MembersChanged((2, 8), frozenset({(2, 20)}), 0.0))
    assert replica._direct


def test_a_vote_lost_while_states_are_compared_is_a_moment_without_quorum() -> None:
    replica = two_with_a_device()
    replica.step(MembersChanged((2, 8), frozenset({(2, 20)}), 0.0))
    replica._on_votes(2, Ballot(1, 3))
    replica._on_votes(2, Ballot(1, 3, 1))
    assert not replica._direct
