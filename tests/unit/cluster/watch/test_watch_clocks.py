"""How far clocks are apart, and whose is wrong."""

import pytest

from kvorum.cluster.watch.clocks import Answer, Offset, offset, sentence, wrong


def offsets(**ahead: float) -> dict[str, Offset]:
    return {node: Offset(seconds, 0.01) for node, seconds in ahead.items()}


def test_the_fastest_answer_tells_and_half_its_time_is_the_doubt() -> None:
    slow = Answer(100.0, 100.9, 101.0)  # the answer took its time on one way alone
    fast = Answer(102.0, 102.505, 102.01)
    assert offset([slow, fast]) == Offset(pytest.approx(0.5), pytest.approx(0.005))


def test_without_an_answer_or_with_a_clock_that_was_set_meanwhile_nothing_is_told() -> None:
    assert offset([]) is None
    assert offset([Answer(100.0, 100.0, 99.0)]) is None


def test_among_three_the_one_that_differs_is_wrong_whoever_looks() -> None:
    assert wrong("n1", offsets(n2=0.0, n3=300.0), frozenset()) == {"n3"}
    assert wrong("n3", offsets(n1=-300.0, n2=-300.0), frozenset()) == {"n3"}
    for here, seen in (("n1", offsets(n2=0.0, n3=300.0)), ("n3", offsets(n1=-300.0, n2=-300.0))):
        assert sentence("n3", here, seen).startswith("The clock of n3 is 300 s ahead of the others'")
    assert "behind" in sentence("n2", "n1", offsets(n2=-3.25, n3=0.0))


def test_of_two_nobody_knows_whose_is_wrong() -> None:
    seen = offsets(n2=-4.0)
    assert wrong("n1", seen, frozenset()) == {"n2"}
    assert sentence("n2", "n1", seen).startswith("The clocks of n1 and n2 are 4.0 s apart")


def test_it_begins_at_a_second_and_ends_at_half_of_it() -> None:
    assert wrong("n1", offsets(n2=0.9), frozenset()) == frozenset()
    assert wrong("n1", offsets(n2=1.1), frozenset()) == {"n2"}
    assert wrong("n1", offsets(n2=0.9), frozenset({"n2"})) == {"n2"}
    assert wrong("n1", offsets(n2=0.4), frozenset({"n2"})) == frozenset()


def test_what_may_be_the_way_there_is_not_held_against_a_clock() -> None:
    assert wrong("n1", {"n2": Offset(1.5, 0.8)}, frozenset()) == frozenset()


def test_a_node_alone_has_no_wrong_clock() -> None:
    assert wrong("n1", {}, frozenset()) == frozenset()
