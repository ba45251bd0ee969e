"""How fast a copy may go."""

from __future__ import annotations

import pytest

from kvorum.storage.bandwidth import Touched, check, rate_kib_s
from kvorum.storage.config import StorageConfig

CLUSTER = "default=1000,clone=500"


@pytest.mark.parametrize(
    ("operation", "settings", "rate"),
    [
        ("clone", [""], 500),
        ("move", [""], 1000),
        ("move", ["move=300"], 300),
        ("move", ["default=200"], 200),
        ("move", ["clone=200"], 1000),
        ("move", ["move=300", "move=400", ""], 300),
        ("move", ["move=0"], 0),
        ("move", ["move=0", "move=700"], 700),
        ("migration", ["migration=0.4"], 1),
        ("move", ["move=fast"], 1000),
    ],
)
def test_the_smallest_limit_that_applies(operation: str, settings: list[str], rate: int) -> None:
    assert rate_kib_s(operation, None, CLUSTER, [Touched(text, True) for text in settings]) == rate


def test_without_any_limit_there_is_none() -> None:
    assert rate_kib_s("clone", None, "", [Touched("", False)]) == 0
    assert rate_kib_s("clone", 0, "", [Touched("", False)]) == 0


@pytest.mark.parametrize(("asked", "rate"), [(100, 100), (499, 499), (9000, 500), (0, 500)])
def test_everybody_may_ask_for_less_and_not_for_more(asked: int, rate: int) -> None:
    assert rate_kib_s("clone", asked, CLUSTER, [Touched("", False)]) == rate


def test_who_may_allocate_there_may_ask_for_more_or_for_no_limit() -> None:
    assert rate_kib_s("clone", 9000, CLUSTER, [Touched("", True)]) == 9000
    assert rate_kib_s("clone", 0, CLUSTER, [Touched("", True)]) == 0
    mixed = [Touched("clone=100", True), Touched("clone=300", False)]
    assert rate_kib_s("clone", 9000, CLUSTER, mixed) == 300


@pytest.mark.parametrize(
    ("text", "why"),
    [("copy=1", "'copy' is no operation"), ("clone=fast", "clone=fast is no number"), ("5", "key=value")],
)
def test_a_wrong_setting_says_what_is_wrong(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check(text)
    entry = StorageConfig.parse(f"dir: vz\n\tpath /a\n\tbwlimit {text}\n").get("vz")
    assert why in entry.wrong and "key 'bwlimit'" in entry.wrong
