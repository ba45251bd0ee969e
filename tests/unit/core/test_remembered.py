"""A value is made anew just when its inputs differ."""

from __future__ import annotations

import pytest

from kvorum.core.remembered import Remembered


def test_a_value_is_made_once_for_equal_inputs_and_anew_for_others() -> None:
    made: list[str] = []

    def shout(text: str) -> str:
        made.append(text)
        return text.upper()

    kept = Remembered(shout)
    assert [kept.of(text) for text in ("a", "a", "b", "b", "a")] == ["A", "A", "B", "B", "A"]
    assert made == ["a", "b", "a"], "one value is held, no more"


def test_a_failure_is_no_value() -> None:
    kept = Remembered(int)
    assert kept.of("1") == 1
    with pytest.raises(ValueError, match="x"):
        kept.of("x")
    assert kept.of("1") == 1
