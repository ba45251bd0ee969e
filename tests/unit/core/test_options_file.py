"""Files of ``key: value`` lines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kvorum.core.options_file import OptionsFile
from kvorum.core.sections import parse

TEXT = "# Rack 7%0A\n#second\nkeyboard: de\n\n# a remark\nnew-thing: x:y\nmax_workers: 4\n"


def test_what_is_not_changed_stays_as_it_is() -> None:
    file = OptionsFile.parse(TEXT)
    assert file.values == {"keyboard": "de", "new-thing": "x:y", "max_workers": "4"}
    changed = file.changed({"keyboard": "fr", "language": "fr"}, ["max_workers"])
    assert changed.lines == ("keyboard: fr", "", "# a remark", "new-thing: x:y", "language: fr")


def test_a_description_survives_being_written_whatever_is_in_it() -> None:
    text = "# Notes\n\nÜber 100 %, key: value\n"
    file = OptionsFile.parse("").with_description(text)
    assert OptionsFile.parse(file.changed({"a": "b"}).render()).description == text
    assert OptionsFile.parse(file.with_description("").render()).description == ""


@given(st.text())
def test_a_file_that_is_read_and_written_says_the_same(text: str) -> None:
    once = OptionsFile.parse(text)
    assert OptionsFile.parse(once.render()).values == once.values


def test_sections_are_read_with_their_bare_keys_and_without_comments() -> None:
    text = "# jobs\nvzdump: backup-1\n\tall\n\tschedule sat 02:00\n\nvzdump: two\n\tvmid 100,101\n"
    text += "nonsense\n\tx 1\n"
    one, two = parse(text)
    assert (one.type, one.id, dict(one.options)) == (
        "vzdump",
        "backup-1",
        {"all": "1", "schedule": "sat 02:00"},
    )
    assert dict(two.options) == {"vmid": "100,101"}
