"""docs/limits.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NAMED = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (ROOT / "docs/limits.md").read_text())


def test_limits_name_tests() -> None:
    assert NAMED


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_stands_in_is_there(file: str, name: str) -> None:
    text = (ROOT / file).read_text()
    assert not name or f"def {name}(" in text
