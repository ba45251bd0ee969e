"""A value is made anew just when its inputs differ."""

from __future__ import annotations

import pytest

from kvorum.core.remembered import Remembered, RememberedEach


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


def test_each_key_has_its_own_value_until_it_is_dropped() -> None:
    made: list[tuple[int, str]] = []

    def shout(key: int, text: str) -> str:
        made.append((key, text))
        return f"{key} {text.upper()}"

    kept = RememberedEach(shout)
    assert [kept.of(key, "a") for key in (1, 2, 1, 2)] == ["1 A", "2 A", "1 A", "2 A"]
    assert kept.of(2, "b") == "2 B"
    kept.keep_only({2})
    assert [kept.of(1, "a"), kept.of(2, "b")] == ["1 A", "2 B"]
    assert made == [(1, "a"), (2, "a"), (2, "b"), (1, "a")]
