"""What is judged before a corosync.conf is spread: who loses quorum, who is behind, and two majorities."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvorum.corosync import Configuration, ConfiguredNode, judge, new_cluster


def cluster(*votes: int) -> Configuration:
    nodes = [ConfiguredNode(f"n{i}", i, v, {0: f"10.0.0.{i}"}) for i, v in enumerate(votes, 1)]
    made = new_cluster("home", nodes[0])
    for node in nodes[1:]:
        made = made.with_node(node)
    return made


def device(configuration: Configuration, votes: int) -> Configuration:
    text = configuration.text.replace(
        "provider: corosync_votequorum\n",
        f"provider: corosync_votequorum\n  device {{\n    model: net\n    votes: {votes}\n  }}\n",
    )
    return Configuration.read(text)


def revoted(old: Configuration, votes: tuple[int, ...]) -> Configuration:
    new = old
    for i, count in enumerate(votes, 1):
        new = new.with_votes(f"n{i}", count)
    return new.bumped()


def forks(old: Configuration, new: Configuration) -> bool:
    """The oracle: two sides without a common voter, one with the old majority and one with the new."""
    voters = [*(node.name for node in old.nodes), *(["device"] if old.device else [])]

    def count(configuration: Configuration, side: frozenset[str]) -> int:
        mine = sum(node.votes for node in configuration.nodes if node.name in side)
        return mine + (configuration.device.votes if configuration.device and "device" in side else 0)

    every = frozenset(voters)
    sides = [frozenset(s) for n in range(len(voters) + 1) for s in combinations(voters, n)]
    return any(
        2 * count(old, side) > old.total_votes and 2 * count(new, every - side) > new.total_votes
        for side in sides
    )


votes_pairs = st.integers(1, 5).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(0, 4), min_size=n, max_size=n).map(tuple)] * 2)
)


@given(votes_pairs, st.none() | st.integers(1, 3))
def test_a_change_is_too_large_exactly_when_two_sides_could_both_go_on(
    pair: tuple[tuple[int, ...], tuple[int, ...]], third: int | None
) -> None:
    old = cluster(*pair[0]) if third is None else device(cluster(*pair[0]), third)
    new = revoted(old, pair[1])
    errors = judge(old, new.text, {node.nodeid for node in old.nodes}, force=True).errors
    assert any("too large for one step" in error for error in errors) is forks(old, new)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=5), st.data())
def test_one_vote_for_one_node_is_never_too_large(votes: list[int], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(votes) - 1))
    changed = [v + (i == index) for i, v in enumerate(votes)]
    for one, other in ((votes, changed), (changed, votes)):
        assert not forks(cluster(*one), revoted(cluster(*one), tuple(other)))


def test_the_two_sides_are_named() -> None:
    old = cluster(1, 1, 1)
    (error,) = judge(old, revoted(old, (1, 1, 3)).text, {1, 2, 3}).errors
    assert "n1 and n2 would go on by the old votes and n3 by the new" in error


def test_an_edit_by_hand_loses_no_node_by_accident() -> None:
    old = cluster(1, 1, 1)
    new = old.without_node("n3").bumped()
    assert judge(old, new.text, {1, 2}).errors == ()
    (error,) = judge(old, new.text, {1, 2}, kept=True).errors
    assert "node 'n3' is missing in the new one: remove it by 'pvecm delnode n3'" in error


def test_who_does_not_follow_yet_is_waited_for_unless_forced() -> None:
    old = cluster(1, 1)
    new = old.with_votes("n1", 2).bumped()
    (error,) = judge(old, new.text, {1, 2}, behind=["n2"]).errors
    assert "n2 does not say that it runs version 1" in error
    assert judge(old, new.text, {1, 2}, behind=["n2"], force=True).errors == ()


def test_force_gives_up_quorum_and_nothing_else() -> None:
    old = cluster(2, 1)
    new = old.with_votes("n1", 1).bumped()
    (error,) = judge(old, new.text, {1}).errors
    assert "would have 1 of the 2 votes needed" in error
    assert judge(old, new.text, {1}, force=True).errors == ()
    stale = judge(old, old.with_votes("n1", 1).text, {1}, force=True).errors
    assert any("a change needs a greater one" in error for error in stale)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_votes_are_set_in_place(count: int) -> None:
    old = cluster(1, 1)
    new = old.with_votes("n2", count)
    assert [node.votes for node in new.nodes] == [1, count]
    assert new.text == old.text.replace(
        "quorum_votes: 1\n    ring0_addr: 10.0.0.2", f"quorum_votes: {count}\n    ring0_addr: 10.0.0.2"
    )
