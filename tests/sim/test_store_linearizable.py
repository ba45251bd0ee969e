"""The checker itself: what it must accept and what it must not."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location(
    "store_linearizable", Path(__file__).with_name("store_linearizable.py")
)
assert _spec is not None and _spec.loader is not None
checker = sys.modules.setdefault("store_linearizable", importlib.util.module_from_spec(_spec))
if not hasattr(checker, "linearizable"):
    _spec.loader.exec_module(checker)
Op = checker.Operation


@pytest.mark.parametrize(
    ("history", "final", "holds"),
    [
        ([], None, True),
        ([Op("write", 0, 1, "a")], "a", True),
        ([Op("write", 0, 1, "a")], None, False),
        ([Op("write", 0, 1, "a"), Op("write", 2, 3, "b")], "b", True),
        ([Op("write", 0, 1, "a"), Op("write", 2, 3, "b")], "a", False),
        ([Op("write", 0, 3, "a"), Op("write", 2, 3, "b")], "a", True),
        ([Op("write", 0, 1, "a"), Op("write", 2, None, "b")], "a", True),
        ([Op("write", 0, None, "a"), Op("write", 2, 3, "b")], "a", True),
        ([Op("write", 0, 1, "a"), Op("write", 2, 9, "b"), Op("read", 3, 4, "b"), Op("read", 5, 6, "a")],
         "b", False),
        ([Op("write", 0, 1, "a"), Op("read", 2, 3, None)], "a", False),
        ([Op("write", 0, 1, "a"), Op("swap", 2, 3, "b", "a"), Op("failed swap", 4, 5, "c", "a")], "b", True),
        ([Op("write", 0, 1, "a"), Op("swap", 2, 3, "b", "a"), Op("swap", 2, 3, "c", "a")], "c", False),
        ([Op("write", 0, 1, "a"), Op("failed swap", 2, 3, "b", "a")], "a", False),
    ],
)  # fmt: skip
def test_what_is_a_register(history: list[object], final: str | None, holds: bool) -> None:
    assert checker.linearizable(history, final) is holds
