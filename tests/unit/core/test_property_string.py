"""Property strings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvorum.core.property_string import boolean, parse, render

keys = st.text("abcdefgh-_0123", min_size=1, max_size=8)
values = st.text(st.characters(exclude_characters=",=", exclude_categories=("Cs",)), min_size=1, max_size=12)


@given(st.dictionaries(keys, values, min_size=1))
def test_what_is_rendered_parses_back(properties: dict[str, str]) -> None:
    assert parse(render(properties)) == properties


def test_the_default_key_stands_first_without_its_name() -> None:
    properties = parse("local:100/a.qcow2,size=4G", "file")
    assert properties == {"file": "local:100/a.qcow2", "size": "4G"}
    assert render({"size": "4G", "file": "local:100/a.qcow2"}, "file") == "local:100/a.qcow2,size=4G"


@pytest.mark.parametrize("text", ["", "a", "a=1,", "a=1,a=2", "=x", "a=", "a=1,,b=2"])
def test_malformed_parts_are_named(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)


@pytest.mark.parametrize("text", ["1", "on", "YES", "true"])
def test_true_has_four_spellings(text: str) -> None:
    assert boolean(text) is True


@pytest.mark.parametrize("text", ["0", "off", "No", "false"])
def test_so_has_false(text: str) -> None:
    assert boolean(text) is False


def test_anything_else_is_neither() -> None:
    with pytest.raises(ValueError, match="'2' is neither true nor false"):
        boolean("2")
