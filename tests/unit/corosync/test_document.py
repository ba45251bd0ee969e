"""corosync.conf: what is parsed is printed unchanged, and errors name their line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvorum.corosync.document import DocumentError, Entry, Note, Section, integer, parse, render

TEXT = """# the cluster of the house
totem {
\tversion: 2   
  cluster_name:home
  x-unknown: a: b: c

  interface {
    linknumber: 0
  }
}
  nodelist{
  node {
    nodeid: 1
    }
}
"""  # noqa: W291

keys = st.from_regex(r"[a-z_][a-z0-9_.-]{0,8}", fullmatch=True)
values = st.text(st.characters(codec="utf-8", exclude_characters="\n\r{"), min_size=1, max_size=20).filter(
    lambda text: text == text.strip() and text != ""
)
notes = st.sampled_from(["\n", "   \n", "# a: comment {\n", "\t#}\n"]).map(Note)
entries = st.builds(Entry, keys, values)
trees = st.recursive(
    st.builds(Section, keys, st.lists(entries | notes, max_size=4).map(tuple)),
    lambda inner: st.builds(Section, keys, st.lists(inner | entries | notes, max_size=4).map(tuple)),
    max_leaves=8,
)
documents = st.lists(trees | notes, max_size=4).map(lambda items: Section("", tuple(items)))


def test_an_unedited_text_comes_out_byte_for_byte() -> None:
    assert render(parse(TEXT)) == TEXT
    assert render(parse(TEXT.rstrip("\n"))) == TEXT.rstrip("\n")
    assert render(parse("")) == ""


@given(documents)
def test_what_is_printed_parses_to_the_same_document(document: Section) -> None:
    assert parse(render(document)) == document


@given(documents, keys, values)
def test_an_edit_changes_its_line_only(document: Section, key: str, value: str) -> None:
    read = parse(render(document))
    for section in [item for item in read.items if isinstance(item, Section)]:
        edited = read.with_section(section.set(key, value), instead_of=section)
        before, after = render(read).split("\n"), render(edited).split("\n")
        assert 0 <= len(after) - len(before) <= 1
        assert parse(render(edited)) == edited


@given(st.text(max_size=60))
def test_any_text_is_kept_or_refused_in_a_sentence(text: str) -> None:
    try:
        assert render(parse(text)) == text
    except DocumentError as error:
        assert str(error).startswith("corosync.conf line ")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("totem {\n  version: 2\n", "line 1: the section 'totem' opened here is never closed"),
        ("totem {\n}\n}\n", "line 3: '}' closes a section, but none is open"),
        ("a: b\n", "line 1: 'a: b' stands outside of any section"),
        ("totem {\n  version 2\n}\n", "line 2: 'version 2' is neither"),
        ("totem { version: 2\n}\n", "line 1: 'totem { version: 2' does not open a section"),
    ],
)
def test_errors_name_the_line(text: str, sentence: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse(text)
    assert sentence in str(caught.value)


def test_a_number_that_is_none_names_its_line() -> None:
    totem = parse("totem {\n  config_version: one\n}\n").section("totem")
    assert totem is not None
    with pytest.raises(DocumentError, match="line 2: config_version: 'one' is not a whole number"):
        integer(totem, "config_version")


@pytest.mark.parametrize("value", ["", " a", "a\nb", "a{"])
def test_values_that_would_break_the_file_are_refused(value: str) -> None:
    with pytest.raises(DocumentError):
        Section("totem").set("key", value)
