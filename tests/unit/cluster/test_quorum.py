"""Quorum explained: the arithmetic holds for every shape, and the sentence says the way out."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvorum.cluster import Voter, explain

voters = st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=6).map(
    lambda rows: [Voter(f"n{i}", votes, here) for i, (votes, here) in enumerate(rows)]
)


def nodes(*votes: int, absent: tuple[int, ...] = ()) -> list[Voter]:
    return [Voter(f"n{i}", v, i not in absent) for i, v in enumerate(votes, 1)]


@given(voters)
def test_any_so_many_may_fail_and_one_more_may_not(shape: list[Voter]) -> None:
    told = explain(shape)
    here = [voter for voter in shape if voter.present and voter.votes]
    assert told.needed * 2 > told.total >= (told.needed - 1) * 2
    assert told.quorate == (told.present >= told.needed)
    if not told.quorate:
        assert told.may_fail == 0 and told.fatal == ()
        return

    def survives(lost: tuple[Voter, ...]) -> bool:
        return told.present - sum(voter.votes for voter in lost) >= told.needed

    assert all(survives(lost) for lost in combinations(here, told.may_fail))
    if told.may_fail < len(here):
        assert not all(survives(lost) for lost in combinations(here, told.may_fail + 1))
    assert set(told.fatal) == {voter.name for voter in here if not survives((voter,))}


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        (
            nodes(1),
            "Quorate: 1 votes are here, 1 are needed. This is the only node; with three nodes one may fail.",
        ),
        (nodes(1, 1), "Nothing more may fail: without n1 or n2 quorum is lost."),
        (nodes(1, 1, 1), "Quorate: 3 votes are here, 2 are needed. Any 1 more node or device may fail."),
        (nodes(1, 1, 1, 1, 1), "Any 2 more nodes or devices may fail."),
        (nodes(2, 1), "Nothing more may fail: without n1 quorum is lost."),
        (nodes(1, 1, absent=(2,)), "No quorum: 1 of the 2 votes needed are here"),
        (nodes(1, 1, absent=(2,)), "Start n2 to go on."),
        (nodes(1, 1, 1, 1, 1, absent=(2, 3, 4, 5)), "Start n2, n3, n4, n5 until 2 more votes are here."),
    ],
)
def test_the_sentence_says_where_the_cluster_stands(shape: list[Voter], sentence: str) -> None:
    assert sentence in explain(shape).sentence


def test_corosyncs_word_goes_before_our_sum() -> None:
    told = explain(nodes(1, 1, 1), quorate=False)
    assert not told.quorate
    assert "a membership change is under way, or corosync waits for all" in told.sentence
