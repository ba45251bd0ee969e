"""Quorum explained: the smallest sets of losses and returns are right for every shape, and the words."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvorum.cluster import Explanation, Voter, explain
from kvorum.cluster.quorum import DEVICE, Device, Rules, Sets, Shape, StoreWord


def nodes(*votes: int, absent: tuple[int, ...] = ()) -> tuple[Voter, ...]:
    return tuple(Voter(f"n{i}", v, i not in absent) for i, v in enumerate(votes, 1))


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    votes = draw(st.lists(st.integers(0, 3), min_size=1, max_size=6))
    device = draw(
        st.none() | st.builds(Device, st.integers(1, 5), st.booleans(), st.sampled_from(["ffsplit", "lms"]))
    )
    alone = device is None  # votequorum refuses its options beside a QDevice
    rules = Rules(
        two_node=alone and len(votes) == 2 and draw(st.booleans()),
        auto_tie_breaker=alone and draw(st.booleans()),
    )
    here = draw(st.lists(st.booleans(), min_size=len(votes), max_size=len(votes)))
    voters = tuple(Voter(f"n{i}", v, p) for i, (v, p) in enumerate(zip(votes, here, strict=True), 1))
    return Shape(voters, device, rules)


def majority(shape: Shape, voters: frozenset[str]) -> bool:
    """The oracle: votequorum(5) and corosync-qdevice(8) read once more, without any cleverness."""
    there = [node for node in shape.nodes if node.name in voters]
    if not there:
        return False
    gathered = sum(node.votes for node in there)
    total = sum(node.votes for node in shape.nodes)
    if shape.device is not None:
        total += shape.device.votes
        half = len(there) * 2 >= len(shape.nodes)
        if DEVICE in voters and (shape.device.algorithm == "lms" or half):
            gathered += shape.device.votes
    if shape.rules.two_node:
        return gathered >= 1
    if shape.rules.auto_tie_breaker and total and gathered * 2 == total and shape.nodes[0] in there:
        return True
    return gathered * 2 > total


def subsets(voters: frozenset[str]) -> Iterator[frozenset[str]]:
    for size in range(1, len(voters) + 1):
        yield from map(frozenset, combinations(sorted(voters), size))


def minimal(found: Iterator[frozenset[str]]) -> set[frozenset[str]]:
    every = set(found)
    return {one for one in every if not any(other < one for other in every)}


def spelled(sets: Sets) -> set[frozenset[str]]:
    """The sets that choices stand for, one by one."""
    spelt: set[frozenset[str]] = set()
    for together in sets:
        ways: list[frozenset[str]] = [frozenset()]
        for choice in together:
            picked = list(combinations(choice.names, choice.count))
            ways = [way | frozenset(names) for way in ways for names in picked]
        assert not spelt & set(ways), "each is named once"
        spelt |= set(ways)
    return spelt


def sides(shape: Shape) -> tuple[frozenset[str], frozenset[str]]:
    """Who is here, and who is not, the QDevice among them."""
    here = set(shape.here) | ({DEVICE} if shape.device_here else set())
    every = {node.name for node in shape.nodes} | ({DEVICE} if shape.device else set())
    return frozenset(here), frozenset(every - here)


@given(shapes())
def test_the_losses_are_all_smallest_sets_that_cost_quorum(shape: Shape) -> None:
    told = explain(shape)
    here, _ = sides(shape)
    assert told.quorate is majority(shape, here)
    if not told.quorate:
        assert told.losses == () and told.may_fail == 0 and told.fatal == ()
        return
    expected = minimal(gone for gone in subsets(here) if not majority(shape, here - gone))
    assert spelled(told.losses) == expected
    assert told.may_fail == min(len(one) for one in expected) - 1
    assert set(told.fatal) == {name for one in expected if len(one) == 1 for name in one}


@given(shapes())
def test_the_returns_are_all_smallest_sets_that_bring_quorum_back(shape: Shape) -> None:
    told = explain(shape)
    here, missing = sides(shape)
    if told.quorate:
        assert told.returns == ()
        return
    expected = minimal(back for back in subsets(missing) if majority(shape, here | back))
    assert spelled(told.returns) == expected


@given(shapes(), st.booleans(), st.booleans())
def test_every_shape_is_explained_in_whole_sentences(shape: Shape, quorate: bool, writable: bool) -> None:
    told = explain(shape, quorate=quorate, store=StoreWord(writable, "" if writable else "n2 knows more"))
    assert told.sentence == told.sentences[0]
    assert all(one and one == one.strip() and "  " not in one for one in told.sentences)
    assert told.writable is writable and told.quorate is quorate


def test_a_large_cluster_is_explained_without_counting_to_millions() -> None:
    told = explain(nodes(*[1] * 32))
    assert told.may_fail == 15
    (((choice,),)) = (told.losses[0],)
    assert choice.count == 16 and len(choice.names) == 32
    odd = explain(nodes(*range(1, 33)))
    assert odd.losses, "votes that all differ end too"


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        (
            nodes(1),
            "Quorate: 1 vote is here, 1 is needed. This is the only node; with three nodes one may fail.",
        ),
        (nodes(1, 1), "Nothing more may fail: without n1 or n2 quorum is lost."),
        (nodes(1, 1, 1), "Quorate: 3 votes are here, 2 are needed. Any 1 more node or device may fail."),
        (nodes(1, 1, 1, 1, 1), "Any 2 more nodes or devices may fail."),
        (nodes(2, 1), "Without n1 quorum is lost; n2 may fail."),
        (nodes(1, 1, absent=(2,)), "No quorum: 1 of the 2 votes needed are here"),
        (nodes(1, 1, absent=(2,)), "Start n2 to go on."),
        (nodes(1, 1, 1, absent=(2, 3)), "Start n2 or n3 to go on."),
        (nodes(1, 1, 1, 1, 1, absent=(2, 3, 4, 5)), "Start any 2 of n2, n3, n4, n5 to go on."),
        (nodes(2, 1, absent=(1,)), "Start n1 to go on."),
        (Shape(nodes(1, 1, absent=(2,)), Device(1, False, host="10.0.0.9")),
         "Start n2, or reach the QDevice (10.0.0.9) again to go on."),
        (Shape(nodes(1, 1), Device(1, True)), "Any 1 more node or device may fail."),
    ],
)  # fmt: skip
def test_the_sentence_says_where_the_cluster_stands(shape: Shape, sentence: str) -> None:
    assert sentence in explain(shape).sentence


def test_losses_at_once_are_named() -> None:
    told = explain(nodes(2, 1, 1, 1))
    assert "These losses at once cost quorum: n1 and any 1 of n2, n3, n4, or n2, n3 and n4." in told.sentences


def test_corosyncs_word_goes_before_our_sum() -> None:
    told = explain(nodes(1, 1, 1), quorate=False)
    assert not told.quorate
    assert "a membership change is under way, or corosync waits for all" in told.sentence
    waiting = Shape(nodes(1, 1, 1, absent=(3,)), rules=Rules(wait_for_all=True))
    assert "Start n3, or go on without by: pvecm expected 2" in explain(waiting, quorate=False).sentence


def test_where_corosync_and_the_store_differ_both_are_said() -> None:
    waits = "waiting for n1, last seen together at 2026-11-28 10:00:00 UTC"
    told = explain(Shape(nodes(1, 1, absent=(1,)), Device(1, True)), store=StoreWord(False, waits))
    assert told.quorate and not told.writable
    assert told.sentences[1] == f"Corosync has quorum, but nothing can be changed here: {waits}."
    agreed = explain(nodes(1, 1, 1), store=StoreWord(True))
    assert agreed.writable and not any("Corosync has quorum, but" in one for one in agreed.sentences)


def kinds(told: Explanation) -> list[str]:
    return [caution.kind for caution in told.cautions]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (Shape(nodes(1)), []),
        (Shape(nodes(1, 1, 1), links=2), []),
        (Shape(nodes(1, 1)), ["two-nodes"]),
        (Shape(nodes(1, 1), ha=True), ["two-nodes", "ha-two-nodes"]),
        (Shape(nodes(2, 2)), ["same-votes"]),
        (Shape(nodes(2, 1)), ["heavy-node"]),
        (Shape(nodes(2, 1), ha=True), ["heavy-node", "ha-heavy-node"]),
        (Shape(nodes(1, 1, 1, 1)), ["even-split"]),
        (Shape(nodes(2, 1, 1)), ["heavy-node", "even-split"]),
        (Shape(nodes(1, 1, 1, 1), rules=Rules(auto_tie_breaker=True)), []),
        (Shape(nodes(1, 1), Device(1, True)), []),
        (Shape(nodes(1, 1), Device(1, True, guest_on="n1")), ["device-is-guest"]),
        (Shape(nodes(1, 1), Device(1, False)), ["device-away"]),
        (Shape(nodes(1, 1, 1), Device(1, True)), ["device-odd-nodes"]),
        (Shape(nodes(1, 1, 1), Device(2, True, "lms")), []),
        (Shape(nodes(1, 1), Device(2, True, "lms")), ["device-heavy"]),
        (Shape(nodes(1, 1, 1, 1, 1), Device(2, True, "lms")), ["device-misfit"]),
        (Shape(nodes(1, 1, 1), links=1), ["one-link"]),
        (Shape(nodes(1, 1), rules=Rules(True, True)), ["two-node-option", "wait-for-all"]),
        (Shape(nodes(1, 1, 1), rules=Rules(last_man_standing=True)), ["last-man-standing"]),
    ],
)  # fmt: skip
def test_shapes_that_fool_people_are_named(shape: Shape, expected: list[str]) -> None:
    told = explain(shape)
    assert kinds(told) == expected
    assert [caution.sentence for caution in told.cautions] == list(
        told.sentences[-len(expected) :] if expected else []
    )
